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
import { serviceName } from '../local/names.ts';
import { type Aws, startAws } from './aws.ts';
import { documented, sample, saying } from './fixtures.ts';
import { type Lambda, SharedClock, startLambda } from './lambda.ts';
import type { FunctionName } from './package.ts';
import { copyProject, type Project, until } from './project.ts';
import { respondingWith } from './proxy.ts';
import { type Mapping, readStream } from './shard-reader.ts';
import { APPS, type FakeVVChat, startVVChat } from './vvchat.ts';

/*
 * Rehearses the whole life of a deployment with the documented commands, against moto in place of AWS: the stage is
 * deployed, works, is redeployed, removed, restored from the retained tables, and deleted for good. Each test
 * continues where the previous one ended.
 */

const STACK = `${serviceName}-dev`;
const FUNCTIONS: readonly FunctionName[] = ['webhook', 'reply', 'retry'];
const RETAINED = ['MembershipsTable', 'InboxTable'] as const;
const TABLES = ['inbox', 'memberships'] as const;

const started: AsyncDisposable[] = [];
let aws: Aws;
let vvchat: FakeVVChat;
let clock: SharedClock;
let project: Project;
let on: ReturnType<typeof clientsOf>;

beforeAll(async () => {
  clock = new SharedClock();
  project = disposedAtEnd(await copyProject());
  vvchat = disposedAtEnd(await startVVChat(clock.now));
  aws = disposedAtEnd(await startAws());
  on = clientsOf(aws);
});
afterAll(async () => {
  for (const it of started.reverse()) await it[Symbol.asyncDispose]();
  clock[Symbol.dispose]();
});

/** Registers what `afterAll` is to dispose of, even if the next start fails. */
function disposedAtEnd<T extends AsyncDisposable>(it: T): T {
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

/** Runs `npx serverless … --stage dev`. */
async function serverless(command: 'deploy' | 'remove') {
  const run = project.start(['serverless', command, '--stage', 'dev'], {
    ...aws.environment,
    VVCHAT_API_URL: vvchat.url,
    VVCHAT_APP_IDS: [...APPS.keys()].join(','),
    WEBHOOK_TOKEN_SHA256: createHash('sha256').update('local').digest('hex'),
    // The interval at which it polls CloudFormation, in milliseconds.
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

/** The template of the last deployment. */
async function compiledTemplate(): Promise<Template> {
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

async function rows(table: (typeof TABLES)[number]): Promise<Row[]> {
  const { Items = [] } = await on.dynamodb.send(
    new ScanCommand({ TableName: `${STACK}-${table}`, ConsistentRead: true }),
  );
  return Items.map(fromAttributes);
}

const statuses = async () => (await rows('inbox')).map((row) => row.status);

const functionNamed = (name: FunctionName) =>
  on.lambda.send(new GetFunctionCommand({ FunctionName: `${STACK}-${name}` }));

const codeHashes = () =>
  Promise.all(FUNCTIONS.map(async (it) => (await functionNamed(it)).Configuration?.CodeSha256));

/** Starts a container of a function with the uploaded code and the deployed configuration. */
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

/** Hands the inbox's stream to `reply`, as the deployed event source mapping configures it. */
async function readInbox(reply: Lambda) {
  const { EventSourceMappings: [mapping, ...more] = [] } = await on.lambda.send(
    new ListEventSourceMappingsCommand(),
  );
  expect(more).toEqual([]);
  expect(mapping?.FunctionArn).toMatch(new RegExp(`:${STACK}-reply$`));
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

const sentTexts = () =>
  vvchat.carried.map(({ app_id, robot_no, params }) => [app_id, robot_no, params.text]);

test('the first deployment creates every resource of the template', async () => {
  const output = await deploy();
  expect(await status()).toBe('UPDATE_COMPLETE');
  const expected = Object.entries((await compiledTemplate()).Resources)
    // moto has no bucket policies, and no address for alarms is set.
    .filter(([, { Type, Condition }]) => Type !== 'AWS::S3::BucketPolicy' && !Condition)
    .map(([id, { Type }]) => `${id}: ${Type}`);
  const created = (await resources())
    .filter(({ LogicalResourceId }) => LogicalResourceId)
    .map((it) => `${it.LogicalResourceId}: ${it.ResourceType}`);
  expect(created.sort()).toEqual(expected.sort());

  const { Functions = [] } = await on.lambda.send(new ListFunctionsCommand());
  expect(Functions.map(({ FunctionName }) => FunctionName)).toEqual(
    expect.arrayContaining(FUNCTIONS.map((name) => `${STACK}-${name}`)),
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
    expect.stringMatching(new RegExp(`:${STACK}-retry$`)),
  ]);
});

test('roles and alarms refer to resources of the stage', async () => {
  const ownArn = new RegExp(`^arn:aws:\\w+:us-east-1:\\d{12}:.*${serviceName}[-/]dev`);
  for (const name of FUNCTIONS) {
    const { Role } = (await functionNamed(name)).Configuration ?? {};
    const { PolicyDocument } = await on.iam.send(
      new GetRolePolicyCommand({ RoleName: Role?.split('/').at(-1), PolicyName: name }),
    );
    const { Statement } = JSON.parse(decodeURIComponent(`${PolicyDocument}`));
    const names: string[] = Statement.flatMap(({ Resource }: { Resource: string }) => Resource);
    for (const it of names.filter((it) => it !== '*')) {
      expect(it).toMatch(ownArn);
    }
  }

  const { MetricAlarms = [] } = await on.cloudWatch.send(new DescribeAlarmsCommand());
  const topic = await physical('AlarmTopic');
  const ids = new Set((await resources()).map(({ PhysicalResourceId }) => PhysicalResourceId));
  expect(MetricAlarms).not.toEqual([]);
  for (const { AlarmActions, OKActions, Dimensions = [] } of MetricAlarms) {
    expect([AlarmActions, OKActions]).toEqual([[topic], [topic]]);
    for (const { Name, Value } of Dimensions) {
      if (Name === 'service') expect(Value).toBe(STACK);
      else if (Name !== 'reason' && Name !== 'event') expect(ids).toContain(Value);
    }
  }
});

test('the deployed functions reply to the documented events', async () => {
  for (const [app, Value] of APPS) {
    const Name = `/${serviceName}/dev/app-keys/${app}`;
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
  // Its reply is left to retry.
  vvchat.fault('send', respondingWith(503));
  expect(await post(webhook, saying('again'))).toBe('queued');
  await until(async () => (await rows('inbox')).some((row) => row.last_error));
  expect(await retry.invoke(sample('retry'))).toEqual({});
  clock.advance(600_000);
  expect(await retry.invoke(sample('retry'))).toEqual({ replied: 1 });

  expect(sentTexts()).toEqual([
    ['qiyunxin', 'xds3345', 'hello'],
    ['test', 'xds2323', '您好'],
    ['test', 'xds2323', 'again'],
  ]);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
  const members = (await rows('memberships')).map(memberOf);
  // Both messages are for the same robot in the same group.
  expect(members.sort()).toEqual(
    [documented.at, documented.join]
      .map(({ data }) => memberOf({ ...data.session, robot_open_id: data.robot.open_id }))
      .sort(),
  );
});

test('a second deployment without changes is skipped', async () => {
  const before = await codeHashes();
  expect(await deploy()).toContain('No changes to deploy. Deployment skipped.');
  expect(await codeHashes()).toEqual(before);
});

test('deploying a changed robot keeps every recorded row', async () => {
  const [webhook, reply, retry] = await codeHashes();
  await project.change('robot/robot.ts', (text) => text.replace("'hello'", "'good day'"));
  await deploy();
  const [sameWebhook, newReply, newRetry] = await codeHashes();
  expect(sameWebhook).toBe(webhook);
  expect(newReply).not.toBe(reply);
  expect(newRetry).not.toBe(retry);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
});

test('a removal retains memberships and inbox, and deletes everything else', async () => {
  await remove();
  await expect(status()).rejects.toThrow('does not exist');
  expect(await tables()).toEqual(TABLES.map((it) => `${STACK}-${it}`));
  expect((await on.lambda.send(new ListFunctionsCommand())).Functions).toEqual([]);
  expect((await on.api.send(new GetApisCommand())).Items).toEqual([]);
  expect((await on.cloudWatch.send(new DescribeAlarmsCommand())).MetricAlarms).toEqual([]);
  expect(await statuses()).toEqual(['replied', 'replied', 'replied']);
});

test('a plain deployment fails while the retained tables exist', async () => {
  const { code, output } = await serverless('deploy');
  expect(code).toBe(1);
  expect(output).toMatch(new RegExp(`Table already exists: ${STACK}-(?:memberships|inbox)`));
  expect(await status()).toBe('UPDATE_ROLLBACK_COMPLETE');
  expect(await statuses()).toHaveLength(3);
  await remove();
});

test('a deployment onto the imported tables restores the service', async () => {
  const { Resources } = await compiledTemplate();
  const retained = RETAINED.map((id) => [id, Resources[id] as Resource] as const);
  const changeSet = { StackName: STACK, ChangeSetName: 'come-back' };
  await on.cloudFormation.send(
    new CreateChangeSetCommand({
      ...changeSet,
      ChangeSetType: 'IMPORT',
      TemplateBody: JSON.stringify({ Resources: Object.fromEntries(retained) }),
      ResourcesToImport: retained.map(([LogicalResourceId, { Type, Properties }]) => ({
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
  // The new mapping starts with the oldest record of the stream.
  await using reader = await readInbox(reply);
  expect(await post(webhook, documented.join)).toBe('queued');
  await until(async () => vvchat.carried.length > 3);
  await until(async () => (await statuses()).every((it) => it === 'replied'));
  expect(reader.seen.filter((it) => it === 'INSERT')).toHaveLength(4);
  expect(sentTexts().slice(3)).toEqual([['qiyunxin', 'xds3345', 'good day']]);
});

test('the retained tables can be deleted once unprotected, and a deployment starts afresh', async () => {
  await remove();
  for (const name of TABLES) {
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
  for (const name of TABLES) {
    const { Table } = await on.dynamodb.send(
      new DescribeTableCommand({ TableName: `${STACK}-${name}` }),
    );
    expect(Table?.DeletionProtectionEnabled).toBe(true);
  }
});
