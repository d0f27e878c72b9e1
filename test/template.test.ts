import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { copyProject, type Project } from './project.ts';

/*
 * The CloudFormation template that `serverless deploy --stage dev` would hand to AWS.
 */

interface Resource {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly Condition?: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type has its own
  readonly Properties: any;
}

const SETTINGS = {
  VVCHAT_API_URL: 'https://vvchat.example.com',
  VVCHAT_APP_IDS: 'test',
  WEBHOOK_TOKEN_SHA256: 'ab'.repeat(32),
};

let project: Project;
let file: string;
let resources: Readonly<Record<string, Resource>>;

beforeAll(async () => {
  project = await copyProject();
  const run = project.start(
    ['serverless', 'package', '--stage', 'dev', '--package', 'packaged'],
    SETTINGS,
  );
  expect(await run.ends(), run.output()).toBe(0);
  file = join(project.folder, 'packaged', 'cloudformation-template-update-stack.json');
  resources = JSON.parse(readFileSync(file, 'utf8')).Resources;
}, 60_000);
afterAll(() => project[Symbol.asyncDispose]());

const of = (type: string) => Object.entries(resources).filter(([, { Type }]) => Type === type);
const functionOf = (name: string) => resources[`${name}LambdaFunction`]?.Properties;

/** What a role may do: `action on resource`, each. */
function permissions(role: string): string[] {
  const { Policies, ManagedPolicyArns = [] } = resources[role]?.Properties ?? {};
  expect(ManagedPolicyArns).toEqual([]);
  return Policies.flatMap(({ PolicyDocument }: { PolicyDocument: { Statement: Statement[] } }) =>
    PolicyDocument.Statement.flatMap(({ Effect, Action, Resource }) => {
      expect(Effect).toBe('Allow');
      return [Action]
        .flat()
        .flatMap((action) =>
          [Resource].flat().map((resource) => `${action} on ${nameOf(resource)}`),
        );
    }),
  ).sort();
}

interface Statement {
  readonly Effect: string;
  readonly Action: string | string[];
  readonly Resource: unknown;
}

function nameOf(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const { 'Fn::GetAtt': attribute, 'Fn::Sub': text } = resource as Record<string, string[]>;
  return attribute ? attribute.join('.') : `${text}`;
}

const KEYS =
  // biome-ignore lint/suspicious/noTemplateCurlyInString: CloudFormation's
  'ssm:GetParameter on arn:${AWS::Partition}:ssm:${AWS::Region}:${AWS::AccountId}:parameter/vvchat-robot/dev/app-keys/*';

const basics = (name: string) => [
  `logs:CreateLogStream on ${name}LogGroup.Arn`,
  `logs:PutLogEvents on ${name}LogGroup.Arn`,
  'xray:PutTelemetryRecords on *',
  'xray:PutTraceSegments on *',
];

describe('the roles', () => {
  test.each([
    [
      'Webhook',
      [
        'dynamodb:UpdateItem on MembershipsTable.Arn',
        'dynamodb:GetItem on InboxTable.Arn',
        'dynamodb:PutItem on InboxTable.Arn',
        'dynamodb:Query on InboxTable.Arn',
      ],
    ],
    [
      'Reply',
      [
        'dynamodb:GetItem on InboxTable.Arn',
        'dynamodb:UpdateItem on InboxTable.Arn',
        'dynamodb:DescribeStream on InboxTable.StreamArn',
        'dynamodb:GetRecords on InboxTable.StreamArn',
        'dynamodb:GetShardIterator on InboxTable.StreamArn',
        'dynamodb:ListStreams on InboxTable.StreamArn',
        'dynamodb:GetItem on TokensTable.Arn',
        'dynamodb:UpdateItem on TokensTable.Arn',
        KEYS,
      ],
    ],
    [
      'Retry',
      [
        'dynamodb:GetItem on InboxTable.Arn',
        'dynamodb:UpdateItem on InboxTable.Arn',
        // biome-ignore lint/suspicious/noTemplateCurlyInString: CloudFormation's
        'dynamodb:Query on ${InboxTable.Arn}/index/due',
        'dynamodb:GetItem on TokensTable.Arn',
        'dynamodb:UpdateItem on TokensTable.Arn',
        KEYS,
      ],
    ],
  ])('%s may do this and nothing else', (name, expected) => {
    expect(permissions(`${name}Role`)).toEqual([...expected, ...basics(name)].sort());
    expect(functionOf(name).Role).toEqual({ 'Fn::GetAtt': [`${name}Role`, 'Arn'] });
  });

  test('there is no other', () => {
    expect(of('AWS::IAM::Role').map(([id]) => id)).toEqual([
      'WebhookRole',
      'ReplyRole',
      'RetryRole',
    ]);
    for (const type of ['AWS::IAM::Policy', 'AWS::IAM::ManagedPolicy'])
      expect(of(type)).toEqual([]);
  });
});

describe('the tables', () => {
  test.each(['MembershipsTable', 'InboxTable'])('%s is kept, whatever happens', (id) => {
    expect(resources[id]).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: {
          PointInTimeRecoveryEnabled: true,
          RecoveryPeriodInDays: 7,
        },
      },
    });
  });

  test('tokens are thrown away', () => {
    expect(resources.TokensTable).not.toHaveProperty('DeletionPolicy');
    expect(resources.TokensTable?.Properties).not.toHaveProperty('DeletionProtectionEnabled');
  });
});

describe('the limits', () => {
  test('the route is throttled', () => {
    expect(resources.HttpApiStage?.Properties.DefaultRouteSettings).toEqual({
      ThrottlingRateLimit: 1_000,
      ThrottlingBurstLimit: 1_000,
    });
    expect(of('AWS::ApiGatewayV2::Route').map(([, { Properties }]) => Properties.RouteKey)).toEqual(
      ['POST /vvchat/events'],
    );
  });

  test.each([
    ['Webhook', 10, 512],
    ['Reply', 90, 512],
    ['Retry', 300, 1_769],
  ])(
    '%s has %i s and %i MB, and as much concurrency as the account',
    (name, seconds, megabytes) => {
      expect(functionOf(name)).toMatchObject({ Timeout: seconds, MemorySize: megabytes });
      expect(functionOf(name)).not.toHaveProperty('ReservedConcurrentExecutions');
    },
  );

  test('logs are JSON, kept for 30 days, and hold no query', () => {
    const groups = of('AWS::Logs::LogGroup');
    expect(groups).toHaveLength(4);
    for (const [, { Properties }] of groups) expect(Properties.RetentionInDays).toBe(30);
    for (const name of ['Webhook', 'Reply', 'Retry']) {
      expect(functionOf(name)).toMatchObject({
        LoggingConfig: { LogFormat: 'JSON' },
        TracingConfig: { Mode: 'Active' },
      });
    }
    const { Format } = resources.HttpApiStage?.Properties.AccessLogSettings ?? {};
    expect(Object.values(JSON.parse(Format))).toEqual([
      '$context.requestId',
      '$context.requestTime',
      '$context.routeKey',
      '$context.status',
      '$context.responseLatency',
      '$context.identity.sourceIp',
      '$context.error.messageString',
      '$context.integrationErrorMessage',
    ]);
  });
});

describe('the alarms', () => {
  test('tell the topic when they begin and when they end', () => {
    const alarms = of('AWS::CloudWatch::Alarm');
    expect(alarms.map(([id]) => id.replace('Alarm', '')).sort()).toEqual([
      'Failures',
      'IteratorAge',
      'OldestDue',
      'ReplyFunctionErrors',
      'ReplyThrottles',
      'RetryFunctionErrors',
      'RetryStopped',
      'RetryThrottles',
      'Throttled',
      'UnknownOutcomes',
      'WebhookErrors',
      'WebhookFunctionErrors',
      'WebhookThrottles',
      'WrongApp',
      'WrongToken',
    ]);
    for (const [, { Properties }] of alarms) {
      expect(Properties).toMatchObject({
        AlarmActions: [{ Ref: 'AlarmTopic' }],
        OKActions: [{ Ref: 'AlarmTopic' }],
        AlarmDescription: expect.stringMatching(/[.?]$/),
      });
    }
  });

  test('a retry that does not run is no data, and that is bad', () => {
    expect(resources.RetryStoppedAlarm?.Properties).toMatchObject({
      MetricName: 'OldestDueSeconds',
      Statistic: 'SampleCount',
      ComparisonOperator: 'LessThanThreshold',
      TreatMissingData: 'breaching',
    });
  });

  test('somebody gets them where an address is set', () => {
    expect(resources.AlarmSubscription).toMatchObject({
      Condition: 'HasAlarmEmail',
      Properties: { Protocol: 'email', Endpoint: { Ref: 'AlarmEmail' } },
    });
  });
});

test('the dashboard is JSON, and shows every metric that an alarm is about', () => {
  const { DashboardBody } = resources.Dashboard?.Properties ?? {};
  const { widgets } = JSON.parse(DashboardBody['Fn::Sub']);
  expect(widgets.length).toBeGreaterThan(8);
  const shown = JSON.stringify(widgets);
  for (const [, { Properties }] of of('AWS::CloudWatch::Alarm')) {
    expect(shown).toContain(`"${Properties.MetricName}"`);
  }
});

test('no secret is in it but the hash of the token', () => {
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(SETTINGS.WEBHOOK_TOKEN_SHA256);
  for (const name of ['APP_KEYS', 'AWS_SECRET_ACCESS_KEY', 'AWS_ENDPOINT_URL']) {
    expect(text).not.toContain(`"${name}"`);
  }
});

const hasCfnLint = (() => {
  try {
    execFileSync('cfn-lint', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

// W3005 is about DependsOn that the framework writes and CloudFormation knows by itself.
test.runIf(hasCfnLint)('cfn-lint finds nothing but W3005', { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)('cfn-lint', [
    '--ignore-checks',
    'W3005',
    '--',
    file,
  ]);
  expect(stdout).toBe('');
});
