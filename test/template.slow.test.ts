import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { ROW_MS } from '../lib/delivery/budgets.ts';
import { COUNTED_BY, DIMENSIONS, NAMESPACE, TOTALLED, UNITS } from '../lib/metric.ts';
import { serviceName } from '../local/names.ts';
import { inserted, startDeployed, URL_TOKEN } from './deployed.ts';
import { documented, sample, saying } from './fixtures.ts';
import { copyProject, type Project } from './project.ts';
import { failing, resettingAfter, respondingWith } from './proxy.ts';

/*
 * The CloudFormation template that `serverless deploy --stage dev` would hand to AWS. An author may add resources,
 * so the checks are of the service's own.
 */

interface Resource {
  readonly Type: string;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
  readonly Condition?: string;
  // biome-ignore lint/suspicious/noExplicitAny: each type has its own
  readonly Properties: any;
}

const SERVICE = `${serviceName}-dev`;

const FUNCTIONS = ['Webhook', 'Reply', 'Retry'];

const SETTINGS = {
  VVCHAT_API_URL: 'https://vvchat.example.com',
  VVCHAT_APP_IDS: 'test',
  WEBHOOK_TOKEN_SHA256: 'ab'.repeat(32),
};

let project: Project;
let file: string;
let resources: Readonly<Record<string, Resource>>;
/** What the packaged functions have printed. */
let printed: readonly Metric[];

beforeAll(async () => {
  project = await copyProject();
  const run = project.start(
    ['serverless', 'package', '--stage', 'dev', '--package', 'packaged'],
    SETTINGS,
  );
  expect(await run.ends(), run.output()).toBe(0);
  file = join(project.folder, 'packaged', 'cloudformation-template-update-stack.json');
  resources = JSON.parse(readFileSync(file, 'utf8')).Resources;
  printed = await printedMetrics();
}, 180_000);
afterAll(() => project[Symbol.asyncDispose]());

const resourcesOf = (type: string) =>
  Object.entries(resources).filter(([, { Type }]) => Type === type);
const functionNamed = (name: string) => resources[`${name}LambdaFunction`]?.Properties;

/** The permissions of a role, each as `action on resource`. */
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
  readonly Condition?: unknown;
}

function nameOf(resource: unknown): string {
  if (typeof resource === 'string') return resource;
  const { 'Fn::GetAtt': attribute, 'Fn::Sub': text } = resource as Record<string, string[]>;
  return attribute ? attribute.join('.') : `${text}`;
}

const KEYS = `ssm:GetParameter on arn:\${AWS::Partition}:ssm:\${AWS::Region}:\${AWS::AccountId}:parameter/${serviceName}/dev/app-keys/*`;

const basics = (name: string) => [
  `logs:CreateLogStream on ${name}LogGroup.Arn`,
  `logs:PutLogEvents on ${name}LogGroup.Arn`,
  'xray:PutTelemetryRecords on *',
  'xray:PutTraceSegments on *',
];

const API_GATEWAY_TIMEOUT_SECONDS = 30;

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
        'dynamodb:UpdateItem on InboxTable.Arn',
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
        'dynamodb:Query on MutesTable.Arn',
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
        'dynamodb:Query on MutesTable.Arn',
        'dynamodb:UpdateItem on TokensTable.Arn',
        KEYS,
      ],
    ],
  ])('%sRole allows what its function needs and nothing else', (name, expected) => {
    expect(permissions(`${name}Role`)).toEqual([...expected, ...basics(name)].sort());
    expect(functionNamed(name).Role).toEqual({ 'Fn::GetAtt': [`${name}Role`, 'Arn'] });
  });

  test('WebhookRole may change no attribute of an inbox row but its duplicates', () => {
    const { Policies } = resources.WebhookRole?.Properties ?? {};
    const statements: Statement[] = Policies[0].PolicyDocument.Statement;
    const updates = statements.filter(
      ({ Action, Resource }) =>
        [Action].flat().includes('dynamodb:UpdateItem') &&
        [Resource].flat().map(nameOf).includes('InboxTable.Arn'),
    );
    const attributes = ['session_open_id', 'event_id', 'duplicates', 'last_duplicate_at'];
    expect(updates.map(({ Condition }) => Condition)).toEqual([
      {
        'ForAllValues:StringEquals': { 'dynamodb:Attributes': attributes },
        StringEqualsIfExists: { 'dynamodb:ReturnValues': 'NONE' },
      },
    ]);
  });

  test.each(FUNCTIONS)(
    '%sRole allows no action by a wildcard, and only tracing on all resources',
    (name) => {
      const wide = permissions(`${name}Role`).filter((it) => /\*.* on | on \*$/.test(it));
      expect(wide).not.toEqual([]);
      expect(wide.filter((it) => !it.startsWith('xray:Put'))).toEqual([]);
    },
  );
});

describe('the tables', () => {
  test.each(['MembershipsTable', 'InboxTable'])('%s is retained, protected and backed up', (id) => {
    expect(resources[id]).toMatchObject({
      DeletionPolicy: 'Retain',
      UpdateReplacePolicy: 'Retain',
      Properties: {
        DeletionProtectionEnabled: true,
        PointInTimeRecoverySpecification: {
          PointInTimeRecoveryEnabled: true,
          RecoveryPeriodInDays: expect.any(Number),
        },
      },
    });
  });

  test.each(['TokensTable', 'MutesTable'])('%s is deleted with the stack', (id) => {
    expect(resources[id]?.Type).toBe('AWS::DynamoDB::Table');
    expect(resources[id]).not.toHaveProperty('DeletionPolicy');
    expect(resources[id]?.Properties).not.toHaveProperty('DeletionProtectionEnabled');
  });
});

describe('the route', () => {
  test('the webhook has a route, and every route a rate limit', () => {
    expect(resources.HttpApiStage?.Properties.DefaultRouteSettings).toEqual({
      ThrottlingRateLimit: expect.any(Number),
      ThrottlingBurstLimit: expect.any(Number),
    });
    const routes = resourcesOf('AWS::ApiGatewayV2::Route').map(([, it]) => it.Properties.RouteKey);
    expect(routes).toContain('POST /vvchat/events');
  });

  test('the webhook times out before API Gateway does', () => {
    expect(functionNamed('Webhook').Timeout).toBeLessThan(API_GATEWAY_TIMEOUT_SECONDS);
  });
});

test('a budget is made only if it has an amount and an address', () => {
  const { Conditions } = JSON.parse(readFileSync(file, 'utf8'));
  expect(resources.Budget).toMatchObject({ Type: 'AWS::Budgets::Budget', Condition: 'HasBudget' });
  expect(Conditions.HasBudget['Fn::And'].map((it: object) => JSON.stringify(it))).toEqual(
    ['BudgetUsd', 'AlarmEmail'].map((Ref) => `{"Fn::Not":[{"Fn::Equals":[{"Ref":"${Ref}"},""]}]}`),
  );
});

test.each(FUNCTIONS)(
  '%s is packaged without reserved concurrency unless a setting says so',
  (name) => {
    expect(functionNamed(name)).toBeDefined();
    expect(functionNamed(name)).not.toHaveProperty('ReservedConcurrentExecutions');
  },
);

test.each(['Reply', 'Retry'])('%s has time for the longest row', (name) => {
  expect(functionNamed(name).Timeout * 1_000).toBeGreaterThanOrEqual(ROW_MS);
});

describe('the logs', () => {
  test.each([...FUNCTIONS, 'HttpApi'])('the log group of %s has a retention', (name) => {
    expect(resources[`${name}LogGroup`]?.Properties.RetentionInDays).toBeGreaterThan(0);
  });

  test.each(FUNCTIONS)('%s logs JSON and is traced', (name) => {
    expect(functionNamed(name)).toMatchObject({
      LoggingConfig: { LogFormat: 'JSON' },
      TracingConfig: { Mode: 'Active' },
    });
  });

  test('the access log is JSON without the query', () => {
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

interface Metric {
  readonly namespace: string;
  readonly name: string;
  /** Without a value: a search for all of them. */
  readonly dimensions: Readonly<Record<string, string | undefined>>;
}

/** Has the packaged functions print each of their metrics, by each value of its dimension. */
async function printedMetrics(): Promise<Metric[]> {
  await using on = await startDeployed();
  const webhook = await on.start('webhook');
  const ask = (changes: object) =>
    webhook.invoke({ ...sample('at'), rawQueryString: `token=${URL_TOKEN}`, ...changes });
  const body = (value: unknown) => ({ body: JSON.stringify(value) });
  for (const event of Object.values(documented)) await on.post(webhook, event);
  await on.post(webhook, documented.at);
  await ask(body({ event: 'robot-left', version: 'v1' }));
  await ask({ rawQueryString: 'token=wrong' });
  await ask({ body: 'x'.repeat(70_000) });
  await ask(body({}));
  const foreign = structuredClone(documented.at);
  foreign.data.robot.app_id = 'foreign';
  await ask(body(foreign));
  const broken = failing(500, 'InternalServerError');
  on.dynamodb.fault('UpdateItem', broken, broken, broken);
  await on.post(webhook, saying('not recorded'));

  const reply = await on.start('reply');
  const answered = async (text: string) => {
    const key = await on.put(saying(text));
    await reply.invoke(inserted(key));
    await on.recover(key);
  };
  await answered('replied');
  await answered('throw');
  // Once with a new token, and then with two tokens.
  on.vvchat.fault('send', ...[1, 2, 3].map(() => respondingWith(400)));
  await answered('failed');
  on.vvchat.fault('send', resettingAfter);
  await answered('unknown outcome');
  await (await on.start('retry')).invoke(sample('retry'));
  return on
    .printed()
    .split('\n')
    .filter((line) => line.startsWith('{"_aws"'))
    .flatMap((line) => metricsIn(JSON.parse(line)));
}

interface Directive {
  readonly Namespace: string;
  readonly Dimensions: readonly (readonly string[])[];
  readonly Metrics: readonly { readonly Name: string }[];
}

/** A line of the embedded metric format, as CloudWatch reads it; only what has a value counts. */
function metricsIn({ _aws, ...values }: Record<string, unknown>): Metric[] {
  const { CloudWatchMetrics } = _aws as { CloudWatchMetrics: readonly Directive[] };
  expect(values.service).toBe(PRINTED_SERVICE);
  return CloudWatchMetrics.flatMap(({ Namespace, Dimensions, Metrics }) =>
    Metrics.filter(({ Name }) => typeof values[Name] === 'number').flatMap(({ Name }) =>
      Dimensions.map((names) => ({
        namespace: Namespace,
        name: Name,
        dimensions: {
          ...Object.fromEntries(names.map((name) => [name, values[name] as string])),
          service: SERVICE,
        },
      })),
    ),
  );
}

/** `METRICS_SERVICE` of test/deployed.ts; on AWS it is what the template sets. */
const PRINTED_SERVICE = 'vvchat-robot-test';

/** Throws unless the functions print such a metric, or a metric filter of the template counts it. */
function expectCounted(metric: Metric): void {
  if (metric.dimensions.service === undefined) {
    const filters = resourcesOf('AWS::Logs::MetricFilter').flatMap(
      ([, { Properties }]) => Properties.MetricTransformations,
    );
    expect(filters).toContainEqual(
      expect.objectContaining({ MetricNamespace: NAMESPACE, MetricName: metric.name }),
    );
    return;
  }
  expect(metric.dimensions.service).toBe(SERVICE);
  const isPrinted = printed.some((it) => shows(metric, it));
  expect(isPrinted, `${JSON.stringify(metric)} is printed by a function`).toBe(true);
}

describe('the metrics', () => {
  test('every one of lib/metric.ts is printed, by every value of its dimension', () => {
    for (const name of Object.keys(UNITS)) {
      const by = (COUNTED_BY as Record<string, keyof typeof DIMENSIONS>)[name];
      const values = by && DIMENSIONS[by];
      const dimensions = Array.isArray(values)
        ? values.map((value) => ({ [by as string]: value as string }))
        : [by ? { [by]: undefined } : {}];
      if (TOTALLED.some((it) => it === name)) dimensions.push({});
      for (const it of dimensions) {
        expectCounted({ namespace: NAMESPACE, name, dimensions: { service: SERVICE, ...it } });
      }
    }
  });

  test.each(FUNCTIONS)('%s counts under the service that alarms and dashboard name', (name) => {
    expect(functionNamed(name).Environment.Variables.METRICS_SERVICE).toBe(SERVICE);
  });
});

const alarmsYml = parse(readFileSync(new URL('../resources/alarms.yml', import.meta.url), 'utf8'), {
  logLevel: 'silent',
});

const alarms = () =>
  resourcesOf('AWS::CloudWatch::Alarm')
    .filter(([id]) => Object.hasOwn(alarmsYml.Resources, id))
    .map(([id, { Properties }]) => ({ id, ...Properties }));

interface AlarmDimension {
  readonly Name: string;
  readonly Value: string | { readonly Ref: string };
}

/** What an alarm watches: a metric, or those in its expression. */
const metricsOf = ({ Metrics, ...alarm }: Resource['Properties']): Metric[] =>
  Metrics
    ? Metrics.flatMap(({ MetricStat }: Resource['Properties']) =>
        MetricStat ? [metricOf(MetricStat.Metric)] : [],
      )
    : [metricOf(alarm)];

const metricOf = ({ Namespace, MetricName, Dimensions = [] }: Resource['Properties']): Metric => ({
  namespace: Namespace,
  name: MetricName,
  dimensions: Object.fromEntries(
    Dimensions.map(({ Name, Value }: AlarmDimension) => [
      Name,
      // As the dashboard, a text for Fn::Sub, refers to a resource.
      typeof Value === 'string' ? Value : `\${${Value.Ref}}`,
    ]),
  ),
});

describe('the alarms', () => {
  test('every alarm has its own name and metric, a description, and actions', () => {
    const names = alarms().map(({ AlarmName }) => AlarmName);
    expect(names).not.toEqual([]);
    expect(names).toEqual(
      alarms().map(({ id }) => `${SERVICE}${id.replace(/Alarm$/, '').replace(/[A-Z]/g, kebab)}`),
    );
    const watched = alarms().map((it) =>
      JSON.stringify([metricsOf(it), it.Statistic, expressionOf(it)]),
    );
    expect(watched).toHaveLength(new Set(watched).size);
    for (const alarm of alarms()) {
      expect(alarm, alarm.id).toMatchObject({
        AlarmDescription: expect.stringMatching(/^\w.*[.?]$/),
        AlarmActions: [{ Ref: 'AlarmTopic' }],
        OKActions: [{ Ref: 'AlarmTopic' }],
      });
    }
  });

  test('every alarm on a metric of the service watches one that is counted', () => {
    const own = alarms()
      .flatMap(metricsOf)
      .filter(({ namespace }) => namespace === NAMESPACE);
    expect(own).not.toEqual([]);
    for (const metric of own) expectCounted(metric);
  });

  test('every alarm looks at no more than CloudWatch allows', () => {
    for (const { id, EvaluationPeriods, DatapointsToAlarm = 1, Period, Metrics = [] } of alarms()) {
      const periods = Metrics.map(({ MetricStat }: Resource['Properties']) => MetricStat?.Period);
      for (const seconds of [Period, ...periods].filter((it) => it !== undefined)) {
        const most = seconds < 3_600 ? 86_400 : 604_800;
        expect(seconds * EvaluationPeriods, id).toBeLessThanOrEqual(most);
      }
      expect(DatapointsToAlarm, id).toBeLessThanOrEqual(EvaluationPeriods);
    }
  });

  test.each([
    ['a day without events after one with some', [5, 0], true],
    ['a second day without', [5, 0, 0], true],
    ['a third day without', [5, 0, 0, 0], false],
    ['fewer events than the day before', [5, 1], false],
    ['events again', [5, 0, 3, 4], false],
    ['no event at all yet', [0, 0], false],
  ])('no-events: %s', (_, events, fires) => {
    expect(firesFor('NoEventsAlarm', { events })).toBe(fires);
  });

  test.each([
    ['401 alone', [0], [3], true],
    ['401 beside accepted events', [7], [3], false],
    ['401 while retry adds no zeros', [undefined], [1], true],
    ['silence', [0], [undefined], false],
  ])('locked-out: %s', (_, events, rejected, fires) => {
    expect(firesFor('LockedOutAlarm', { events, rejected })).toBe(fires);
  });

  test('a throttled request in the access log counts for its alarm', () => {
    const { FilterPattern, MetricTransformations } = resources.ThrottledFilter?.Properties ?? {};
    const [, field = '', value] = /^\{ \$\.(\w+) = "(\d+)" \}$/.exec(FilterPattern) ?? [];
    const line = accessLogLine({ status: '429', 'error.responseType': 'THROTTLED' });
    expect(line[field]).toBe(value);
    expect(MetricTransformations).toEqual([
      {
        MetricNamespace: NAMESPACE,
        MetricName: resources.ThrottledAlarm?.Properties.MetricName,
        MetricValue: '1',
      },
    ]);
  });

  test('an address that is set subscribes to the alarms', () => {
    expect(resources.AlarmSubscription).toMatchObject({
      Condition: 'HasAlarmEmail',
      Properties: { Protocol: 'email', Endpoint: { Ref: 'AlarmEmail' } },
    });
  });
});

const expressionOf = ({ Metrics = [] }: Resource['Properties']): string | undefined =>
  Metrics.find(({ Expression }: Resource['Properties']) => Expression)?.Expression;

/** One value a period, the oldest first; undefined where CloudWatch has none. */
type Series = readonly (number | undefined)[];

/**
 * Whether an alarm on an expression fires, as CloudWatch documents IF, FILL, DIFF and AND: an operation on a missing
 * value has none.
 */
function firesFor(id: string, series: Readonly<Record<string, Series>>): boolean {
  const alarm = resources[id]?.Properties;
  const names = Object.keys(series);
  const length = Math.max(...Object.values(series).map((it) => it.length));
  const at = (i: number) => {
    const value = (name: string, back = 0) => series[name]?.[i - back] ?? Number.NaN;
    const source = `${expressionOf(alarm)}`
      .replace(/\bAND\b/g, '&&')
      .replace(/\bDIFF\((\w+)\)/g, "(value('$1') - value('$1', 1))")
      .replace(/\bFILL\((\w+), (\d+)\)/g, "(Number.isNaN(value('$1')) ? $2 : value('$1'))")
      .replace(/\bIF\(/g, 'either(');
    const either = (when: boolean, then: number, other: number) => (when ? then : other);
    const values = names.map((name) => value(name));
    return new Function('value', 'either', ...names, `return ${source}`)(value, either, ...values);
  };
  const results = Array.from({ length }, (_, i) => at(i)).slice(-alarm.EvaluationPeriods);
  const breaching = results.filter((it) => it >= alarm.Threshold).length;
  return breaching >= (alarm.DatapointsToAlarm ?? alarm.EvaluationPeriods);
}

const kebab = (letter: string) => `-${letter.toLowerCase()}`;

/** The metrics on the dashboard. */
function shownMetrics(): Metric[] {
  const { DashboardBody } = resources.Dashboard?.Properties ?? {};
  const { widgets } = JSON.parse(DashboardBody['Fn::Sub']);
  return widgets
    .flatMap(
      ({ properties }: { properties: { metrics?: unknown[][] } }) => properties.metrics ?? [],
    )
    .map((row: unknown[]) => (typeof row[0] === 'string' ? listedIn(row) : searchedBy(row[0])));
}

/** A metric of a widget by its name: `[namespace, metric, dimension, value, …, options]`. */
function listedIn(row: readonly unknown[]): Metric {
  const [namespace = '', name = '', ...pairs] = row.filter((it) => typeof it === 'string');
  const dimensions = Object.fromEntries(
    pairs.flatMap((key, i) => (i % 2 === 0 ? [[key, pairs[i + 1]]] : [])),
  );
  return { namespace, name, dimensions };
}

/** The metrics of a widget that `SEARCH('{namespace,dimension,…} MetricName="…" dimension="…"', …)` finds. */
function searchedBy(search: unknown): Metric {
  const { expression } = search as { expression: string };
  const [, namespace = '', keys = '', name = '', terms = ''] =
    /^SEARCH\('\{"([^"]+)"((?:,\w+)*)\} MetricName="(\w+)"((?: \w+="[^"]+")*)', '\w+', \d+\)$/.exec(
      expression,
    ) ?? [];
  const values = Object.fromEntries(
    [...terms.matchAll(/(\w+)="([^"]+)"/g)].map(([, key, value]) => [key, value]),
  );
  const dimensions = keys
    .split(',')
    .slice(1)
    .map((key) => [key, values[key]]);
  return { namespace, name, dimensions: Object.fromEntries(dimensions) };
}

const shows = (shown: Metric, metric: Metric) =>
  shown.namespace === metric.namespace &&
  shown.name === metric.name &&
  `${Object.keys(shown.dimensions)}` === `${Object.keys(metric.dimensions)}` &&
  Object.entries(shown.dimensions).every(
    ([key, value]) => value === undefined || value === metric.dimensions[key],
  );

describe('the dashboard', () => {
  test('it shows the metric of every alarm', () => {
    const shown = shownMetrics();
    const missing = alarms().filter(
      (alarm) => !metricsOf(alarm).every((metric) => shown.some((it) => shows(it, metric))),
    );
    expect(missing.map(({ id }) => id)).toEqual([]);
  });

  test('every metric of the service on it is counted', () => {
    const own = shownMetrics().filter(({ namespace }) => namespace === NAMESPACE);
    expect(own).not.toEqual([]);
    for (const metric of own) expectCounted(metric);
  });

  test('it shows every metric that lib/metric.ts counts, by all values of its dimension', () => {
    const shown = shownMetrics();
    for (const name of Object.keys(UNITS)) {
      const by = (COUNTED_BY as Record<string, string>)[name];
      const dimensions = { service: SERVICE, ...(by && { [by]: undefined }) };
      expect(shown).toContainEqual({ namespace: NAMESPACE, name, dimensions });
      if (!TOTALLED.some((it) => it === name)) continue;
      expect(shown).toContainEqual({
        namespace: NAMESPACE,
        name,
        dimensions: { service: SERVICE },
      });
    }
  });
});

test('the template contains no secret but the hash of the token', () => {
  const text = readFileSync(file, 'utf8');
  expect(text).toContain(SETTINGS.WEBHOOK_TOKEN_SHA256);
  for (const name of ['APP_KEYS', 'AWS_SECRET_ACCESS_KEY', 'AWS_ENDPOINT_URL']) {
    expect(text).not.toContain(`"${name}"`);
  }
});

// cfn-lint comes with test/requirements.txt. W3005 is about DependsOn that the framework writes and CloudFormation knows by itself.
test('cfn-lint reports nothing but W3005', { timeout: 60_000 }, async () => {
  const { stdout } = await promisify(execFile)('cfn-lint', [
    '--ignore-checks',
    'W3005',
    '--',
    file,
  ]);
  expect(stdout).toBe('');
});
