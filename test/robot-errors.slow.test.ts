import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { visible } from '../local/terminal.ts';
import { inserted, put, startFunction } from './deployed.ts';
import { type Engine, startEngine } from './engine.ts';
import { saying } from './fixtures.ts';
import { type Lambda, SharedClock } from './lambda.ts';
import { npmStart } from './npm-start.ts';
import { makePackage, type Package, packageIn } from './package.ts';
import { type FakeVVChat, startVVChat } from './vvchat.ts';

/* What an author finds in the log when the robot throws: packaged, and under npm start. */

const ROBOT = `import { defineRobot, sendText } from 'vvchat-robot';
import { forecast } from './weather.ts';

export const robot = defineRobot({
  at: [
    [/^weather/, async () => sendText(await forecast('here'))],
    [/^/, ({ text }) => sendText(text)],
  ],
});
`;

/** Throws in line 12; the cause, in line 3. */
const WEATHER = `
function connect(): never {
  throw new RangeError('no connection');
}

export async function forecast(place: string): Promise<string> {
  await Promise.resolve();
  try {
    return connect();
  } catch (cause) {
    if (place !== '') {
        throw new TypeError('no forecast for ' + place, { cause });
    }
    return '';
  }
}
`;

let folder: string;
let bundle: Package;
let engine: Engine;
let vvchat: FakeVVChat;
const clock = new SharedClock();

beforeAll(async () => {
  folder = await makePackage(ROBOT, { 'robot/weather.ts': WEATHER });
  [bundle, engine, vvchat] = await Promise.all([
    packageIn(folder),
    startEngine(),
    startVVChat(clock.now),
  ]);
}, 60_000);
afterAll(async () => {
  await vvchat?.[Symbol.asyncDispose]();
  await engine?.[Symbol.asyncDispose]();
  clock[Symbol.dispose]();
  await rm(folder, { recursive: true });
});

/** Has a packaged robot asked about a text; resolves to all that its function printed. */
async function printedFor(text: string, environment: Record<string, string> = {}): Promise<string> {
  const source = { environment: { ...engine.environment, ...environment } };
  const urls = { dynamodb: engine.endpoint, vvchat: vvchat.url };
  await using webhook: Lambda = await startFunction(bundle, 'webhook', source, urls, clock);
  await using reply: Lambda = await startFunction(bundle, 'reply', source, urls, clock);
  await reply.invoke(inserted(await put(webhook, saying(text))));
  return reply.output();
}

describe('a packaged robot that throws', () => {
  test("is logged with the author's words, file and line, and those of the cause", async () => {
    const printed = await printedFor('weather 1');
    expect(printed).toMatch(/message: 'the robot failed to answer'/);
    expect(printed).toMatch(/route: 'at\[0\]'/);
    expect(printed).toMatch(/error: 'TypeError',\s+detail: 'no forecast for here'/);
    expect(printed).toContain("'at robot/weather.ts:12:15'");
    expect(printed).toContain("'at robot/robot.ts:6:");
    expect(printed).toMatch(/error: 'RangeError',\s+detail: 'no connection'/);
    expect(printed).toContain("'at robot/weather.ts:3:9'");
    expect(printed).not.toMatch(/reply\.cjs:/);
  });

  test('is logged without its words, and still with file and line, if LOG_ROBOT_ERRORS is false', async () => {
    const printed = await printedFor('weather 2', { LOG_ROBOT_ERRORS: 'false' });
    expect(printed).toMatch(/error: 'TypeError'/);
    expect(printed).toContain("'at robot/weather.ts:12:15'");
    expect(printed).not.toMatch(/no forecast|no connection/);
  });

  test('is counted by the metric that its alarm watches, within a minute', async () => {
    const printed = await printedFor('weather 3');
    const lines = printed.split('\n').filter((line) => line.startsWith('{"_aws"'));
    const counted = lines.map((line) => JSON.parse(line)).filter((it) => 'RobotErrors' in it);
    expect(counted).toHaveLength(1);
    const [{ _aws, ...values }] = counted;
    const [{ Namespace, Dimensions, Metrics }] = _aws.CloudWatchMetrics;
    const alarm = bundle.template.Resources.RobotErrorsAlarm?.Properties;
    expect([alarm.Namespace, alarm.MetricName]).toEqual([Namespace, Metrics[0].Name]);
    expect([alarm.Dimensions.map(({ Name }: { Name: string }) => Name)]).toEqual(Dimensions);
    expect(values).toEqual({ service: 'vvchat-robot-test', RobotErrors: 1 });
    expect(alarm).toMatchObject({
      Statistic: 'Sum',
      Period: 60,
      DatapointsToAlarm: 1,
      Threshold: 1,
      ComparisonOperator: 'GreaterThanOrEqualToThreshold',
      TreatMissingData: 'notBreaching',
    });
  });

  test('costs a robot that does not throw no entry', async () => {
    expect(await printedFor('anything')).not.toMatch(/the robot failed|RobotErrors/);
  });
});

describe('under npm start', () => {
  test('the terminal shows the error with file and line, and escapes in a text instead of obeying them', async () => {
    await using running = await npmStart();
    await running.project.write('robot/weather.ts', WEATHER);
    await running.project.write('robot/robot.ts', ROBOT);
    await running.run.prints(/Reloaded\./);
    await running.post(saying('weather 4'));
    const [entry] = await running.run.prints(/the robot failed to answer[\s\S]*robot\.ts:6:/);
    expect(entry).toMatch(/route=at\[0\] error=TypeError detail=no forecast for here/);
    expect(entry).toMatch(/robot\/weather\.ts:12:15/);
    await running.run.prints(/caused by RangeError: no connection\n.*robot\/weather\.ts:3:9/);
    await running.post(saying('\u001b]52;c;cm0gLXJm\u0007\u009b2J\u202egnp.\nforged'));
    await running.run.prints(/\\u001b\]52;c;cm0gLXJm\\u0007\\u009b2J\\u202egnp\.\n {4}forged/);
    expect(running.run.output()).toBe(visible(running.run.output()));
  });
});
