import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import {
  ApiGatewayV2Client,
  GetApisCommand,
  GetIntegrationsCommand,
  GetRoutesCommand,
  GetStagesCommand,
} from '@aws-sdk/client-apigatewayv2';
import {
  CloudFormationClient,
  CreateChangeSetCommand,
  DescribeStackResourcesCommand,
  DescribeStacksCommand,
  ExecuteChangeSetCommand,
} from '@aws-sdk/client-cloudformation';
import { CloudWatchClient, DescribeAlarmsCommand } from '@aws-sdk/client-cloudwatch';
import {
  DeleteTableCommand,
  DescribeTableCommand,
  DynamoDBClient,
  ListTablesCommand,
  ScanCommand,
  UpdateTableCommand,
} from '@aws-sdk/client-dynamodb';
import {
  EventBridgeClient,
  ListRulesCommand,
  ListTargetsByRuleCommand,
} from '@aws-sdk/client-eventbridge';
import { GetRolePolicyCommand, IAMClient } from '@aws-sdk/client-iam';
import {
  GetFunctionCommand,
  LambdaClient,
  ListEventSourceMappingsCommand,
  ListFunctionsCommand,
} from '@aws-sdk/client-lambda';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { PutParameterCommand, SSMClient } from '@aws-sdk/client-ssm';
import { unzipSync } from 'fflate';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fromAttributes, type Row } from '../lib/aws/table.ts';
import type { Event } from '../lib/vvchat/event.ts';
import { type Aws, startAws } from './aws.ts';
import { documented, sample, saying } from './fixtures.ts';
import { type Lambda, SharedClock, startLambda } from './lambda.ts';
import type { FunctionName } from './package.ts';
import { copyProject, type Project, until } from './project.ts';
import { respondingWith } from './proxy.ts';
import { type Mapping, readStream } from './shard-reader.ts';
import { APPS, type FakeVVChat, startVVChat } from './vvchat.ts';

/*
 * A rehearsal of a deployment's whole life, by the commands that are documented, with moto in the place of AWS: the
 * stage is deployed, works, is deployed again, removed, brought back on the tables that were kept, and erased. Each
 * test goes on from the one before.
 */

const STACK = 'vvchat-robot-dev';
const FUNCTIONS: readonly FunctionName[] = ['webhook', 'reply', 'retry'];
const KEPT = ['MembershipsTable', 'InboxTable'] as const;

const started: AsyncDisposable[] = [];
let aws: Aws;
let vvchat: FakeVVChat;
let clock: SharedClock;
let project: Project;
let on: ReturnType<typeof clientsOf>;

beforeAll(async () => {
  clock = new SharedClock();
  project = ending(await copyProject());
  vvchat = ending(await startVVChat(clock.now));
  aws = ending(await startAws());
  on = clientsOf(aws);
});
afterAll(async () => {
  for (const it of started.reverse()) await it[Symbol.asyncDispose]();
  clock[Symbol.dispose]();
});

/** Has it end with the tests, also if what is started next fails. */
function ending<T extends AsyncDisposable>(it: T): T {
  started.push(it);
  return it;
}

function clientsOf({ endpoint }: Aws) {
  const options = {
    endpoint,
    region: 'us-east-1',
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  };
  return {
    api: new ApiGatewayV2Client(options),
    cloudFormation: new CloudFormationClient(options),
    cloudWatch: new CloudWatchClient(options),
    dynamodb: new DynamoDBClient(options),
    eventBridge: new EventBridgeClient(options),
    iam: new IAMClient(options),
    lambda: new LambdaClient(options),
    s3: new S3Client(options),
    ssm: new SSMClient(options),
  };
}

/** Types `npx serverless … --stage dev`. */
async function serverless(command: 'deploy' | 'remove') {
  const run = project.start(['serverless', command, '--stage', 'dev'], {
    ...aws.environment,
    VVCHAT_API_URL: vvchat.url,
    VVCHAT_APP_IDS: [...APPS.keys()].join(','),
    WEBHOOK_TOKEN_SHA256: createHash('sha256').update('local').digest('hex'),
    // How often it asks CloudFormation, in milliseconds.
    SLS_AWS_MONITORING_FREQUENCY: '200',
  });
  return { code: await run.ends(), output: run.output() };
}

async function deploy(): Promise<string> {
  const { code, output } = await serverless('deploy');
  expect(code, output).toBe(0);
  return output;
}

async function remove(): Promise<void> {
  const { code, output } = await serverless('remove');
  expect(code, output).toBe(0);
}

interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
}

interface Resource {
  readonly Type: string;
  readonly Condition?: string;
  readonly Properties: { readonly TableName?: string };
}

/** What the last deployment compiled. */
async function compiled(): Promise<Template> {
  const file = join(project.folder, '.serverless', 'cloudformation-template-update-stack.json');
  return JSON.parse(await readFile(file, 'utf8'));
}

async function status(): Promise<string | undefined> {
  const { Stacks } = await on.cloudFormation.send(new DescribeStacksCommand({ StackName: STACK }));
  return Stacks?.[0]?.StackStatus;
}

async function resources() {
  const { StackResources = [] } = await on.cloudFormation.send(
    new DescribeStackResourcesCommand({ StackName: STACK }),
  );
  return StackResources;
}

const physical = async (id: string) =>
  (await resources()).find(({ LogicalResourceId }) => LogicalResourceId === id)?.PhysicalResourceId;

const tables = async () => (await on.dynamodb.send(new ListTablesCommand())).TableNames?.sort();

async function rows(table: 'memberships' | 'inbox'): Promise<Row[]> {
  const { Items = [] } = await on.dynamodb.send(
    new ScanCommand({ TableName: `${STACK}-${table}`, ConsistentRead: true }),
  );
  return Items.map(fromAttributes);
}

const statuses = async () => (await rows('inbox')).map((row) => row.status);

const functionNamed = (name: FunctionName) =>
  on.lambda.send(new GetFunctionCommand({ FunctionName: `${STACK}-${name}` }));

const hashes = () =>
  Promise.all(FUNCTIONS.map(async (it) => (await functionNamed(it)).Configuration?.CodeSha256));

/** Starts a container with what was uploaded, as the function is configured. */
async function start(name: FunctionName): Promise<Lambda> {
  const { Configuration, Code } = await functionNamed(name);
  const { Handler = '', Timeout = 0, CodeSha256 } = Configuration ?? {};
  const { Body } = await on.s3.send(
    new GetObjectCommand({
      Bucket: await physical('ServerlessDeploymentBucket'),
      Key: decodeURIComponent(new URL(`${Code?.Location}`).pathname).slice(1),
    }),
  );
  const zip = (await Body?.transformToByteArray()) ?? new Uint8Array();
  expect(createHash('sha256').update(zip).digest('base64')).toBe(CodeSha256);
  const folder = await mkdtemp(join(project.folder, `${name}-`));
  for (const [file, content] of Object.entries(unzipSync(zip))) {
    const path = join(folder, file);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
  return startLambda({
    handler: join(folder, Handler.replace(/\.handler$/, '.cjs')),
    timeoutMs: Timeout * 1_000,
    environment: { ...Configuration?.Environment?.Variables, ...aws.environment },
    clock,
  });
}

/** Lets the inbox's stream come to `reply`, as the mapping of the two has it. */
async function readInbox(reply: Lambda) {
  const { EventSourceMappings: [mapping, ...more] = [] } = await on.lambda.send(
    new ListEventSourceMappingsCommand(),
  );
  expect(more).toEqual([]);
  expect(mapping?.FunctionArn).toMatch(/:vvchat-robot-dev-reply$/);
  return readStream({
    engine: { endpoint: aws.endpoint, client: on.dynamodb },
    streamArn: `${mapping?.EventSourceArn}`,
    mapping: mapping as Mapping,
    invoke: (event) => reply.invoke(event),
  });
}

async function post(webhook: Lambda, event: Event): Promise<string> {
  const request = { ...sample('at'), body: JSON.stringify(event) };
  const { statusCode, body } = (await webhook.invoke(request)) as Record<string, string>;
  expect(statusCode, body).toBe(200);
  return JSON.parse(`${body}`).status;
}

const memberOf = (row: Row) => `${row.robot_open_id} in ${row.session_open_id}`;

const said = () =>
  vvchat.carried.map(({ app_id, robot_no, params }) => [app_id, robot_no, params.text]);

test('the first deployment makes all that is in the template', async () => {
  const output = await deploy();
  expect(await status()).toBe('UPDATE_COMPLETE');
  const expected = Object.entries((await compiled()).Resources)
    // moto has no policies of buckets; nobody has set an address for alarms.
    .filter(([, { Type, Condition }]) => Type !== 'AWS::S3::BucketPolicy' && !Condition)
    .map(([id, { Type }]) => `${id}: ${Type}`);
  const made = (await resources())
    .filter(({ LogicalResourceId }) => LogicalResourceId)
    .map((it) => `${it.LogicalResourceId}: ${it.ResourceType}`);
  expect(made.sort()).toEqual(expected.sort());

  expect(await tables()).toEqual(['inbox', 'memberships', 'tokens'].map((it) => `${STACK}-${it}`));
  const { Functions = [] } = await on.lambda.send(new ListFunctionsCommand());
  expect(Functions.map(({ FunctionName }) => FunctionName).sort()).toEqual(
    FUNCTIONS.map((name) => `${STACK}-${name}`).sort(),
  );

  const { Items: [api] = [] } = await on.api.send(new GetApisCommand());
  const ofApi = { ApiId: api?.ApiId };
  const { Items: [route] = [] } = await on.api.send(new GetRoutesCommand(ofApi));
  const { Items: [integration] = [] } = await on.api.send(new GetIntegrationsCommand(ofApi));
  const { Items: [stage] = [] } = await on.api.send(new GetStagesCommand(ofApi));
  expect(route).toMatchObject({
    RouteKey: 'POST /vvchat/events',
    Target: `integrations/${integration?.IntegrationId}`,
  });
  expect(integration?.IntegrationUri).toBe(
    Functions.find(({ FunctionName }) => FunctionName?.endsWith('-webhook'))?.FunctionArn,
  );
  expect(stage).toMatchObject({ StageName: '$default', AutoDeploy: true });
  expect(output).toContain(
    `POST - https://${api?.ApiId}.execute-api.us-east-1.amazonaws.com/vvchat/events`,
  );

  const { Rules: [rule] = [] } = await on.eventBridge.send(new ListRulesCommand());
  expect(rule).toMatchObject({ ScheduleExpression: 'rate(1 minute)', State: 'ENABLED' });
  const { Targets = [] } = await on.eventBridge.send(
    new ListTargetsByRuleCommand({ Rule: rule?.Name }),
  );
  expect(Targets.map(({ Arn }) => Arn)).toEqual([
    expect.stringMatching(/:vvchat-robot-dev-retry$/),
  ]);
});

test('roles and alarms are for what there is', async () => {
  for (const name of FUNCTIONS) {
    const { Role } = (await functionNamed(name)).Configuration ?? {};
    const { PolicyDocument } = await on.iam.send(
      new GetRolePolicyCommand({ RoleName: Role?.split('/').at(-1), PolicyName: name }),
    );
    const { Statement } = JSON.parse(decodeURIComponent(`${PolicyDocument}`));
    const names: string[] = Statement.flatMap(({ Resource }: { Resource: string }) => Resource);
    for (const it of names.filter((it) => it !== '*')) {
      expect(it).toMatch(/^arn:aws:(?:dynamodb|logs|ssm):us-east-1:\d{12}:.*vvchat-robot[-/]dev/);
    }
  }

  const { MetricAlarms = [] } = await on.cloudWatch.send(new DescribeAlarmsCommand());
  const topic = await physical('AlarmTopic');
  const known = [STACK, 'token', 'app', await physical('HttpApi')];
  expect(MetricAlarms).toHaveLength(15);
  for (const { AlarmActions, OKActions, Dimensions = [] } of MetricAlarms) {
    expect([AlarmActions, OKActions]).toEqual([[topic], [topic]]);
    for (const { Value } of Dimensions) {
      expect([...known, ...FUNCTIONS.map((name) => `${STACK}-${name}`)]).toContain(Value);
    }
  }
});

test('what was deployed answers the documented events', async () => {
  for (const [app, Value] of APPS) {
    const Name = `/vvchat-robot/dev/app-keys/${app}`;
    await on.ssm.send(new PutParameterCommand({ Name, Value, Type: 'SecureString' }));
  }
  await using webhook = await start('webhook');
  await using reply = await start('reply');
  await using retry = await start('retry');
  await using _reader = await readInbox(reply);

  expect(await post(webhook, documented.join)).toBe('queued');
  await until(async () => vvchat.carried.length === 1);
  expect(await post(webhook, documented.open)).toBe('recorded');
  expect(await post(webhook, documented.at)).toBe('queued');
  await until(async () => vvchat.carried.length === 2);
  // This one is for retry.
  vvchat.fault('send', respondingWith(503));
  expect(await post(webhook, saying('help'))).toBe('queued');
  await until(async () => (await rows('inbox')).some((row) => row.last_error));
  expect(await retry.invoke(sample('retry'))).toEqual({});
  clock.advance(600_000);
  expect(await retry.invoke(sample('retry'))).toEqual({ replied: 1 });

  expect(said()).toEqual([
    ['qiyunxin', 'xds3345', expect.stringContaining('Hello, everybody!')],
    ['test', 'xds2323', expect.stringContaining('“您好”')],
    ['test', 'xds2323', expect.stringContaining('You can say:')],
  ]);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
  const members = (await rows('memberships')).map(memberOf);
  // Two events are of the same robot in the same group.
  expect(members.sort()).toEqual(
    [documented.at, documented.join]
      .map(({ data }) => memberOf({ ...data.session, robot_open_id: data.robot.open_id }))
      .sort(),
  );
});

test('a second deployment has nothing to do', async () => {
  const before = await hashes();
  expect(await deploy()).toContain('No changes to deploy. Deployment skipped.');
  expect(await hashes()).toEqual(before);
});

test('a changed robot is deployed, and nothing that was recorded is lost', async () => {
  const [webhook, reply, retry] = await hashes();
  await project.change('robot/robot.ts', (text) => text.replace('Hello!', 'Good day!'));
  await deploy();
  const [sameWebhook, newReply, newRetry] = await hashes();
  expect(sameWebhook).toBe(webhook);
  expect(newReply).not.toBe(reply);
  expect(newRetry).not.toBe(retry);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
});

test('a removal keeps memberships and inbox, and nothing else', async () => {
  await remove();
  await expect(status()).rejects.toThrow('does not exist');
  expect(await tables()).toEqual(['inbox', 'memberships'].map((it) => `${STACK}-${it}`));
  expect((await on.lambda.send(new ListFunctionsCommand())).Functions).toEqual([]);
  expect((await on.api.send(new GetApisCommand())).Items).toEqual([]);
  expect((await on.cloudWatch.send(new DescribeAlarmsCommand())).MetricAlarms).toEqual([]);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
});

test('what was kept is in the way of a plain deployment', async () => {
  const { code, output } = await serverless('deploy');
  expect(code).toBe(1);
  expect(output).toMatch(/Table already exists: vvchat-robot-dev-(?:memberships|inbox)/);
  expect(await status()).toBe('UPDATE_ROLLBACK_COMPLETE');
  expect(await statuses()).toHaveLength(3);
  await remove();
});

test('with the kept tables imported, the service comes back to them', async () => {
  const { Resources } = await compiled();
  const kept = KEPT.map((id) => [id, Resources[id] as Resource] as const);
  const changeSet = { StackName: STACK, ChangeSetName: 'come-back' };
  await on.cloudFormation.send(
    new CreateChangeSetCommand({
      ...changeSet,
      ChangeSetType: 'IMPORT',
      TemplateBody: JSON.stringify({ Resources: Object.fromEntries(kept) }),
      ResourcesToImport: kept.map(([LogicalResourceId, { Type, Properties }]) => ({
        LogicalResourceId,
        ResourceType: Type,
        ResourceIdentifier: { TableName: `${Properties.TableName}` },
      })),
    }),
  );
  await on.cloudFormation.send(new ExecuteChangeSetCommand(changeSet));
  expect(await status()).toBe('IMPORT_COMPLETE');
  await deploy();
  expect(await status()).toBe('UPDATE_COMPLETE');
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);

  await using webhook = await start('webhook');
  await using reply = await start('reply');
  // The mapping is new, and begins with the oldest that the stream has.
  await using reader = await readInbox(reply);
  expect(await post(webhook, documented.at)).toBe('queued');
  await until(async () => vvchat.carried.length > 3);
  await until(async () => (await statuses()).every((it) => it === 'replied'));
  expect(reader.seen.filter((it) => it === 'INSERT')).toHaveLength(4);
  expect(said().slice(3)).toEqual([['test', 'xds2323', expect.stringContaining('Good day!')]]);
});

test('who wants none of it kept lifts the protection, and begins anew', async () => {
  await remove();
  for (const name of ['memberships', 'inbox']) {
    const TableName = `${STACK}-${name}`;
    await expect(on.dynamodb.send(new DeleteTableCommand({ TableName }))).rejects.toThrow(
      /protect/i,
    );
    await on.dynamodb.send(new UpdateTableCommand({ TableName, DeletionProtectionEnabled: false }));
    await on.dynamodb.send(new DeleteTableCommand({ TableName }));
  }
  expect(await tables()).toEqual([]);
  await deploy();
  expect(await rows('inbox')).toEqual([]);
  expect(await rows('memberships')).toEqual([]);
  for (const name of ['memberships', 'inbox']) {
    const { Table } = await on.dynamodb.send(
      new DescribeTableCommand({ TableName: `${STACK}-${name}` }),
    );
    expect(Table?.DeletionProtectionEnabled).toBe(true);
  }
});
