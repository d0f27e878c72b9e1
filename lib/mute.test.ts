import { afterAll, beforeAll, expect, test } from 'vitest';
import { Clock, type Engine, startEngine } from '../test/engine.ts';
import { iso, type Table } from './aws/table.ts';
import { endMute, isInForce, type Mute, mute, readMutes } from './mute.ts';

const clock = new Clock();
let engine: Engine;
let table: Table;

beforeAll(async () => {
  engine = await startEngine();
  table = engine.table('mutes', clock);
});
afterAll(() => engine[Symbol.asyncDispose]());

test('a mute is listed until it is ended', async () => {
  const group = { kind: 'session', id: 'a:group' } as const;
  const app = { kind: 'app', id: 'test' } as const;
  const muted_at = iso(clock.now());
  await mute(table, group, 7_200_000);
  await mute(table, app);
  expect(await readMutes(table)).toEqual([
    { ...app, muted_at },
    { ...group, muted_at, until: iso(clock.now() + 7_200_000) },
  ]);
  await mute(table, group);
  expect(await readMutes(table)).toEqual([
    { ...app, muted_at },
    { ...group, muted_at },
  ]);
  expect(await endMute(table, group)).toBe(true);
  expect(await endMute(table, group)).toBe(false);
  expect(await readMutes(table)).toEqual([{ ...app, muted_at }]);
});

test('a mute with an end is in force until then', () => {
  const one: Mute = { kind: 'app', id: 'x', muted_at: iso(0), until: iso(1_000) };
  expect([999, 1_000].map((now) => isInForce(one, now))).toEqual([true, false]);
  const { until: _, ...endless } = one;
  expect(isInForce(endless, Number.MAX_SAFE_INTEGER)).toBe(true);
});
