import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { QueryCommand } from '@aws-sdk/client-dynamodb';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { documented, saying } from '../test/fixtures.ts';
import { npmStart, type Running } from '../test/npm-start.ts';
import { nameOf } from './names.ts';

let running: Running;

beforeAll(async () => {
  running = await npmStart();
}, 90_000);
afterAll(() => running[Symbol.asyncDispose]());

async function invoke(name: string, event: string): Promise<string> {
  const command = [
    'npx',
    'serverless',
    'invoke',
    'local',
    '-f',
    name,
    '-p',
    `events/${event}.json`,
  ];
  const run = running.project.start(command);
  expect(await run.ends(), run.output()).toBe(0);
  return run.output();
}

describe('invoke local beside npm start', () => {
  test.each([
    ['join-group-for-invite', 'queued', documented.join],
    ['at', 'queued', documented.at],
    ['session-open', 'recorded', documented.open],
  ])('answers 200 for webhook on events/%s.json', async (name, status, event) => {
    const output = await invoke('webhook', name);
    expect(output).toMatch(/"statusCode": 200/);
    expect(output).toContain(`"status": "${status}"`);
    const [, event_id] = /"event_id": "(.*)"/.exec(output) ?? [];
    if (status === 'queued') {
      expect(await running.replied(event_id, 5_000, event)).toHaveProperty('commands');
    }
    const { session, robot } = event.data;
    const { Items } = await running.client.send(
      new QueryCommand({
        TableName: nameOf('memberships'),
        KeyConditionExpression: 'session_open_id = :session AND robot_open_id = :robot',
        ExpressionAttributeValues: {
          ':session': { S: session.session_open_id },
          ':robot': { S: robot.open_id },
        },
      }),
    );
    expect(Items).toHaveLength(1);
  });

  test.concurrent('reports for reply that there is no such row', async () => {
    expect(await invoke('reply', 'reply')).toMatch(/inbox row absent[\s\S]*"absent": 1/);
  });

  test.concurrent('reports for retry that nothing is due', async () => {
    expect(await invoke('retry', 'retry')).toMatch(/nothing is due/);
  });
});

test('serverless package beside npm start does no harm', async () => {
  const run = running.project.start(['npx', 'serverless', 'package']);
  expect(await run.ends(), run.output()).toBe(0);
  expect(existsSync(join(running.project.folder, '.esbuild'))).toBe(false);
  const { body } = await running.post(saying('after packaging'));
  expect(await running.replied(body.event_id)).toMatchObject({ sent: 1 });
});
