import { expect, test } from 'vitest';
import { copyProject } from '../test/project.ts';

test('npm run demo plays the documented events and shows what becomes of them', async () => {
  await using project = await copyProject();
  const run = project.start(['npm', 'run', 'demo']);
  expect(await run.ends(), run.output()).toBe(0);
  const [, events, memberships, said] = run
    .output()
    .split(/VVChat posts|Which robot|What the robots/);
  expect(events).toMatch(/join-group-for-invite: 200 \{"status":"queued"/);
  expect(events).toMatch(/session-open: 200 \{"status":"recorded"/);
  expect(events).toMatch(/at: 200 \{"status":"queued"/);
  expect(memberships).toMatch(/8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2.*xds2323/);
  expect(memberships).toMatch(/hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp.*xds3345/);
  expect(said).toMatch(/group 8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2 {2}◀ xds2323: 您好！/);
  expect(said).toMatch(/group hwWj3RPotzas_nQwGHTqwB0KnUy8hLBp {2}◀ xds3345: 大家好！/);
});

test('npm run demo fails when an answer is missing', async () => {
  await using project = await copyProject();
  await project.change('robot/robot.ts', (source) => source.replace('[/^/,', '[/^never$/,'));
  await project.change('robot/robot.ts', (source) => source.replace('/^/,', '/^never$/,'));
  const run = project.start(['npm', 'run', 'demo']);
  expect(await run.ends()).toBe(1);
  expect(run.output()).toContain(
    'The robot has no answer to at in 8g8ZW-JHWSNvTvMCu9V9uF58NaIjmjy2: ignored.',
  );
});
