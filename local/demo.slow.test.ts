import { expect, test } from 'vitest';
import { documented } from '../test/fixtures.ts';
import { copyProject } from '../test/project.ts';

async function demo(robot?: string) {
  await using project = await copyProject();
  if (robot !== undefined) {
    await project.change(
      'robot/robot.ts',
      () => `import { defineRobot, sendText } from 'vvchat-robot';\n${robot}`,
    );
  }
  const run = project.start(['npm', 'run', 'demo']);
  return { code: await run.ends(), output: run.output() };
}

test('npm run demo posts the documented events and shows the replies and the memberships', async () => {
  const { code, output } = await demo();
  expect(code, output).toBe(0);
  const { at, join, open } = documented;
  expect(output).toMatch(
    /▶ at: 200 \{"status":"queued".*\n {4}group 8g8ZW\S+ {2}◀ xds2323: 您好\n/,
  );
  expect(output).toMatch(
    /▶ join-group-for-invite: 200 \{"status":"queued".*\n {4}group hwWj3\S+ {2}◀ xds3345: hello\n/,
  );
  expect(output).toMatch(
    /▶ session-open: 200 \{"status":"recorded".*\n {4}The robot has no handler for this event\.\n/,
  );
  for (const { data } of [at, join, open]) {
    expect(output).toMatch(
      new RegExp(`│ '${data.session.session_open_id}' │ '${data.robot.robot_no}'`),
    );
  }
});

test('npm run demo succeeds with a robot that is silent, and shows that it is', async () => {
  const { code, output } = await demo(
    "export const robot = defineRobot({ at: [[/^never$/, () => sendText('x')]], 'session-open': () => null });",
  );
  expect(code, output).toBe(0);
  expect(output).toMatch(/▶ at: .*\n {4}The robot answered nothing\.\n/);
  expect(output).toMatch(/▶ join-\S+: .*\n {4}The robot has no handler for this event\.\n/);
  expect(output).toMatch(/▶ session-open: .*\n {4}The robot answered nothing\.\n/);
});

test('npm run demo fails with a robot that has failed for good, and shows the reason', async () => {
  const { code, output } = await demo(
    "export const robot = defineRobot({ at: [[/^/, () => sendText('')]] });",
  );
  expect(code).toBe(1);
  expect(output).toMatch(/The robot has failed: InvalidCommandError: /);
});

test('npm run demo fails with a robot that cannot be loaded, and shows its line', async () => {
  const { code, output } = await demo('export const robot = defineRobot({ at: [] }).missing.x;');
  expect(code).toBe(1);
  expect(output).toMatch(/robot\/robot\.ts:2:\d+: TypeError: /);
  expect(output).not.toMatch(/node_modules/);
});
