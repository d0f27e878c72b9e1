import { once } from 'node:events';
import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import {
  CreateTableCommand,
  type CreateTableCommandInput,
  type DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import { expect, test } from 'vitest';
import { STAGE } from '../local/names.ts';
import { createLocalClient, createTables } from '../local/tables.ts';
import { inserted, put, startFunction } from './deployed.ts';
import { startEngine } from './engine.ts';
import { sample, saying } from './fixtures.ts';
import { SharedClock } from './lambda.ts';
import { environmentOf, handlerFile, makePackage, packageIn } from './package.ts';
import { copyProject, type Project } from './project.ts';
import { startVVChat } from './vvchat.ts';

/* A robot that uses clients of AWS's SDK by itself, without options, wherever its code runs. */

const ROBOT = `
  import { DynamoDBClient, GetItemCommand, PutItemCommand, ResourceNotFoundException } from '@aws-sdk/client-dynamodb';
  import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
  import { defineRobot, sendText } from 'vvchat-robot';

  const dynamodb = new DynamoDBClient({});
  const s3 = new S3Client({});

  export const robot = defineRobot({
    at: [
      [
        /^/,
        async () => {
          const { Body } = await s3.send(new GetObjectCommand({ Bucket: 'a-bucket', Key: 'a-key' }));
          const id = { S: 'an id' };
          const bytes = { B: Uint8Array.of(0, 127, 128, 255) };
          await dynamodb.send(new PutItemCommand({ TableName: 'notes', Item: { id, bytes } }));
          const { Item } = await dynamodb.send(new GetItemCommand({ TableName: 'notes', Key: { id } }));
          const absent = await dynamodb
            .send(new GetItemCommand({ TableName: 'absent', Key: { id } }))
            .catch((error: unknown) => error);
          return sendText(
            [
              await Body?.transformToString(),
              Item?.bytes?.B,
              absent instanceof ResourceNotFoundException,
              await dynamodb.config.region(),
            ].join(' '),
          );
        },
      ],
    ],
    'join-group-for-invite': () => null,
  });
`;

const REPLY = 'an object 0,127,128,255 true';

const NOTES: CreateTableCommandInput = {
  TableName: 'notes',
  AttributeDefinitions: [{ AttributeName: 'id', AttributeType: 'S' }],
  KeySchema: [{ AttributeName: 'id', KeyType: 'HASH' }],
  BillingMode: 'PAY_PER_REQUEST',
};

/** S3 with one object, and the access keys of the requests for it. */
async function startS3() {
  const accessKeys: string[] = [];
  const server = createServer(({ url, headers }, response) => {
    const [, key = ''] = /Credential=([^/]+)/.exec(`${headers.authorization}`) ?? [];
    accessKeys.push(key);
    response.statusCode = url?.startsWith('/a-bucket/a-key') ? 200 : 404;
    response.end('an object');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    accessKeys,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await server[Symbol.asyncDispose]();
    },
  };
}

test("work packaged, beside the functions' own client", async () => {
  const folder = await makePackage(ROBOT);
  try {
    const bundle = await packageIn(folder);
    await using s3 = await startS3();
    using clock = new SharedClock();
    await using engine = await startEngine();
    await using vvchat = await startVVChat(clock.now);
    await createNotes(engine.client);
    const source = {
      environment: {
        ...engine.environment,
        AWS_ENDPOINT_URL_S3: s3.url,
        AWS_SESSION_TOKEN: 'a token',
      },
    };
    const urls = { dynamodb: engine.endpoint, vvchat: vvchat.url };
    await using webhook = await startFunction(bundle, 'webhook', source, urls, clock);
    await using reply = await startFunction(bundle, 'reply', source, urls, clock);
    await reply.invoke(inserted(await put(webhook, saying('anything'))));

    expect(vvchat.carried.map(({ params }) => params.text)).toEqual([`${REPLY} us-east-1`]);
    expect(s3.accessKeys).toEqual([engine.environment.AWS_ACCESS_KEY_ID]);
    expect(
      Object.keys(environmentOf(bundle, 'reply')).filter((it) => it.startsWith('AWS_')),
    ).toEqual(['AWS_ENDPOINT_URL_DYNAMODB']);
    // The robot's author pays for them, in the functions that ask the robot.
    const [small, large] = await Promise.all(
      (['webhook', 'reply'] as const).map((name) => stat(handlerFile(bundle, name))),
    );
    expect(small?.size).toBeLessThan(60_000);
    expect(large?.size).toBeGreaterThan(200_000);
  } finally {
    await rm(folder, { recursive: true });
  }
});

async function addProfile({ folder }: Project): Promise<void> {
  await mkdir(join(folder, 'home/.aws'));
  await writeFile(
    join(folder, 'home/.aws/credentials'),
    '[work]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret\n',
  );
}

const createNotes = (client: DynamoDBClient) => client.send(new CreateTableCommand(NOTES));

test.each([
  ["the profile's keys", { AWS_PROFILE: 'work' }, 'AKIAPROFILE'],
  [
    "the shell's keys",
    { AWS_ACCESS_KEY_ID: 'AKIASHELL', AWS_SECRET_ACCESS_KEY: 'secret' },
    'AKIASHELL',
  ],
  ['placeholders in place of keys', {}, 'local'],
  ['placeholders for a profile that does not exist', { AWS_PROFILE: 'gone' }, 'local'],
])('work under npm start, with %s', async (_, environment, accessKey) => {
  await using s3 = await startS3();
  await using project = await copyProject();
  await project.change('robot/robot.ts', () => ROBOT);
  await addProfile(project);
  const running = project.start(['npm', 'start'], {
    AWS_REGION: 'eu-west-1',
    AWS_ENDPOINT_URL_S3: s3.url,
    // Nothing of DynamoDB may go there.
    AWS_ENDPOINT_URL: 'http://127.0.0.1:1',
    AWS_ENDPOINT_URL_DYNAMODB: 'http://127.0.0.1:1',
    ...environment,
  });
  await running.prints(/Ready in/, 60_000);
  await createNotes(createLocalClient(`http://127.0.0.1:${project.ports.dynamodb}`));
  await fetch(`http://127.0.0.1:${project.ports.http}/vvchat/events?token=local`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(saying('anything')),
  });
  await running.prints(RegExp(`${REPLY} eu-west-1`), 60_000);
  expect(s3.accessKeys).toEqual([accessKey]);
  expect(running.output()).not.toMatch(/Multiple credential sources/);
});

test.each([
  ["the profile's keys", { AWS_PROFILE: 'work' }, 'AKIAPROFILE'],
  ['placeholders in place of keys', {}, 'local'],
])('work in invoke local, with %s', async (_, environment, accessKey) => {
  await using s3 = await startS3();
  await using vvchat = await startVVChat();
  await using project = await copyProject();
  const engine = dynalite({ createTableMs: 0 }).listen(project.ports.dynamodb, '127.0.0.1');
  await once(engine, 'listening');
  try {
    const client = createLocalClient(`http://127.0.0.1:${project.ports.dynamodb}`);
    await createTables(client);
    await createNotes(client);
    await project.change('robot/robot.ts', () => ROBOT);
    await project.change('serverless.yml', (it) =>
      it
        .replace('appKeys: test=123456', 'appKeys: test=planted-key-of-test')
        .replace('qiyunxin=654321', 'qiyunxin=planted-key-of-qiyunxin'),
    );
    await addProfile(project);
    const invoke = async (name: string, event: unknown) => {
      await writeFile(join(project.folder, 'event.json'), JSON.stringify(event));
      const run = project.start(
        ['serverless', 'invoke', 'local', '-f', name, '-p', 'event.json', '--stage', STAGE],
        {
          AWS_ENDPOINT_URL_S3: s3.url,
          AWS_EC2_METADATA_DISABLED: 'true',
          LOCAL_VVCHAT_PORT: new URL(vvchat.url).port,
          ...environment,
        },
      );
      expect(await run.ends(), run.output()).toBe(0);
      return run.output();
    };
    const event = saying('anything');
    const output = await invoke('webhook', { ...sample('at'), body: JSON.stringify(event) });
    const [, event_id = ''] = /\\?"event_id\\?": ?\\?"([^"\\]*)/.exec(output) ?? [];
    const { session_open_id } = event.data.session;
    const replied = await invoke('reply', inserted({ session_open_id, event_id }));
    expect(
      vvchat.carried.map(({ params }) => params.text),
      replied,
    ).toEqual([`${REPLY} us-east-1`]);
    expect(s3.accessKeys).toEqual([accessKey]);
  } finally {
    engine.close();
    engine.closeAllConnections();
  }
});
