import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DIMENSIONS, UNITS } from '../lib/metric.ts';
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

/** A line of the access log, as API Gateway would write it. */
function accessLogLine(values: Readonly<Record<string, string>>): Record<string, string> {
  const { Format } = resources.HttpApiStage?.Properties.AccessLogSettings ?? {};
  const line = Format.replace(
    /\$context\.([\w.]+)/g,
    (_: string, name: string) => values[name] ?? `a ${name}`,
  );
  return JSON.parse(line);
}

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
    expect(accessLogLine({ status: '200', 'error.responseType': '-' })).toEqual({
      requestId: 'a requestId',
      requestTime: 'a requestTime',
      routeKey: 'a routeKey',
      status: '200',
      responseLatency: 'a responseLatency',
      sourceIp: 'a identity.sourceIp',
      error: '-',
      integrationStatus: 'a integrationStatus',
    });
  });
});

const alarmsSeen = new Set<string>();

/** Whether `record` of lib/metric.ts writes such a metric. */
function expectCounted(metric: string, { service, ...dimension }: Record<string, string>): void {
  expect(Object.keys(UNITS)).toContain(metric);
  expect(service).toBe('vvchat-robot-dev');
  const by = { Events: 'event', Rejected: 'reason' }[metric];
  expect(Object.keys(dimension)).toEqual(by ? [by] : []);
  if (by) expect(DIMENSIONS[by as keyof typeof DIMENSIONS]).toContain(dimension[by]);
}

describe('the alarms', () => {
  test.each([
    // of our own
    ['Failures', 'Failures', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['UnknownOutcomes', 'UnknownOutcomes', 'Sum', 300, 1, '>=', 10, 'notBreaching'],
    ['OldestDue', 'OldestDueSeconds', 'Maximum', 3_600, 1, '>=', 900, 'notBreaching'],
    ['RetryStopped', 'OldestDueSeconds', 'SampleCount', 300, 2, '<', 1, 'breaching'],
    ['WrongToken', 'Rejected', 'Sum', 300, 1, '>=', 10, 'notBreaching'],
    ['WrongApp', 'Rejected', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['Throttled', 'vvchat-robot-dev-throttled', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    // of AWS's
    ['WebhookErrors', '5xx', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['WebhookFunctionErrors', 'Errors', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['ReplyFunctionErrors', 'Errors', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['RetryFunctionErrors', 'Errors', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['WebhookThrottles', 'Throttles', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['ReplyThrottles', 'Throttles', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['RetryThrottles', 'Throttles', 'Sum', 300, 1, '>=', 1, 'notBreaching'],
    ['IteratorAge', 'IteratorAge', 'Maximum', 60, 3, '>=', 30_000, 'notBreaching'],
  ])(
    '%s: %s %s of %i s, %i times %s %i, missing data %s',
    (name, metric, statistic, period, times, than, threshold, missing) => {
      alarmsSeen.add(`${name}Alarm`);
      expect(resources[`${name}Alarm`]?.Properties).toMatchObject({
        MetricName: metric,
        Statistic: statistic,
        Period: period,
        EvaluationPeriods: times,
        ComparisonOperator: than === '<' ? 'LessThanThreshold' : 'GreaterThanOrEqualToThreshold',
        Threshold: threshold,
        TreatMissingData: missing,
        AlarmActions: [{ Ref: 'AlarmTopic' }],
        OKActions: [{ Ref: 'AlarmTopic' }],
        AlarmDescription: expect.stringMatching(/[.?]$/),
      });
    },
  );

  test('there are no others, and those of our own are about what is counted', () => {
    const alarms = of('AWS::CloudWatch::Alarm');
    expect(new Set(alarms.map(([id]) => id))).toEqual(alarmsSeen);
    for (const [, { Properties }] of alarms) {
      const { Namespace, MetricName, Dimensions = [] } = Properties;
      if (Namespace === 'vvchat-robot' && Dimensions.length > 0) {
        const pairs = Dimensions.map((it: { Name: string; Value: string }) => [it.Name, it.Value]);
        expectCounted(MetricName, Object.fromEntries(pairs));
      }
    }
  });

  test('a request too many is found in the access log', () => {
    const { FilterPattern, MetricTransformations } = resources.ThrottledFilter?.Properties ?? {};
    const [, name = '', value] = /^\{ \$\.(\w+) = "(\d+)" \}$/.exec(FilterPattern) ?? [];
    const line = accessLogLine({ status: '429', 'error.responseType': 'THROTTLED' });
    expect(line[name]).toBe(value);
    expect(MetricTransformations).toEqual([
      {
        MetricNamespace: 'vvchat-robot',
        MetricName: 'vvchat-robot-dev-throttled',
        MetricValue: '1',
      },
    ]);
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
  for (const { properties } of widgets) {
    for (const [namespace, metric, ...rest] of properties.metrics ?? []) {
      const names = rest.filter((it: unknown) => typeof it === 'string');
      if (namespace !== 'vvchat-robot' || names.length === 0) continue;
      const pairs = names.flatMap((it: string, i: number) =>
        i % 2 === 0 ? [[it, names[i + 1]]] : [],
      );
      expectCounted(metric, Object.fromEntries(pairs));
    }
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
