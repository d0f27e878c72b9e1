import { beforeEach, expect, test, vi } from 'vitest';
import { beforeCalls } from '../../test/engine.ts';
import { useTestHarness } from '../../test/use-harness.ts';
import { updateIf } from '../aws/table.ts';
import { VVChatError } from '../vvchat/api.ts';
import { createAnswers } from './answers.ts';

const on = useTestHarness();
const tokens = () => on.engine.table('tokens', on.clock);
const unknown = new VVChatError('unknown', 'the request to VVChat broke off');

beforeEach(() =>
  updateIf(tokens(), { app_id: 'app' }, { token: 'x' }, ['attribute_not_exists(app_id)']),
);

test('an answer is noted after an outcome that was unknown, and only the first', async () => {
  const answers = createAnswers(tokens());
  await answers.record('app');
  expect(await answers.latest('app')).toBeUndefined();
  await answers.record('app', unknown);
  await answers.record('app', new VVChatError('busy', 'VVChat answered 503'));
  await answers.record('another app');
  expect(await answers.latest('app')).toBeUndefined();
  await answers.record('app');
  const first = on.clock.now();
  expect(await answers.latest('app')).toBe(first);
  on.clock.advance(1_000);
  await answers.record('app');
  expect(await answers.latest('app')).toBe(first);
});

test('a refusal is an answer', async () => {
  const answers = createAnswers(tokens());
  await answers.record('app', unknown);
  await answers.record('app', new VVChatError('refused', 'VVChat answered 400'));
  expect(await answers.latest('app')).toBe(on.clock.now());
});

test('an app without a token gets no row', async () => {
  const answers = createAnswers(tokens());
  await answers.record('unknown app', unknown);
  await answers.record('unknown app');
  expect(await answers.latest('unknown app')).toBeUndefined();
});

test('a table that fails is logged, and the next answer is noted', async () => {
  const client = on.engine.newClient();
  let isDown = true;
  beforeCalls(client, () => {
    if (isDown) throw Object.assign(new Error('a secret'), { name: 'InternalServerError' });
  });
  const answers = createAnswers({ ...tokens(), client });
  await answers.record('app', unknown);
  await answers.record('app');
  expect(await answers.latest('app')).toBeUndefined();
  expect(vi.mocked(console.warn).mock.calls.map(([line]) => line.error)).toEqual([
    'InternalServerError',
    'InternalServerError',
  ]);
  isDown = false;
  await answers.record('app');
  expect(await answers.latest('app')).toBe(on.clock.now());
});
