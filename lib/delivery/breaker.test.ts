import { describe, expect, test } from 'vitest';
import { VVChatError, type VVChatFault } from '../vvchat/api.ts';
import { NoTokenError } from '../vvchat/token.ts';
import { CircuitBreaker, MAX_CONSECUTIVE_FAILURES } from './breaker.ts';
import { OutOfTimeError } from './send.ts';

const in_ = (session_open_id: string, app_id = 'app') => ({ app_id, session_open_id });
const fault = (it: VVChatFault) => new VVChatError(it, it);
const times = (n: number, work: (i: number) => void) =>
  Array.from({ length: n }, (_, i) => work(i));

describe('a circuit breaker', () => {
  test.each(['busy', 'unknown', 'doubtful'] as const)(
    'opens for a conversation after five failures in a row (%s), and for no other',
    (it) => {
      const breaker = new CircuitBreaker();
      times(MAX_CONSECUTIVE_FAILURES - 1, () => breaker.record(in_('a'), fault(it)));
      expect(breaker.isOpen(in_('a'))).toBe(false);
      breaker.record(in_('b'));
      breaker.record(in_('a'), fault(it));
      expect(breaker.isOpen(in_('a'))).toBe(true);
      expect(breaker.isOpen(in_('b'))).toBe(false);
    },
  );

  test('opens for an app when five conversations fail in a row', () => {
    const breaker = new CircuitBreaker();
    times(MAX_CONSECUTIVE_FAILURES - 1, (i) => breaker.record(in_(`${i}`), fault('busy')));
    breaker.record(in_('fine'));
    times(MAX_CONSECUTIVE_FAILURES - 1, (i) => breaker.record(in_(`later ${i}`), fault('busy')));
    expect(breaker.isOpen(in_('other'))).toBe(false);
    breaker.record(in_('fifth'), fault('unknown'));
    expect(breaker.isOpen(in_('other'))).toBe(true);
    expect(breaker.isOpen(in_('other', 'another app'))).toBe(false);
  });

  test.each([
    ['VVChat cannot be reached', fault('unreachable')],
    ['there is no token', new NoTokenError('no token')],
  ])('opens for an app when %s five times in a row', (_, failure) => {
    const breaker = new CircuitBreaker();
    times(MAX_CONSECUTIVE_FAILURES - 1, () => breaker.record(in_('a'), failure));
    expect(breaker.isOpen(in_('b'))).toBe(false);
    breaker.record(in_('a'), failure);
    expect(breaker.isOpen(in_('b'))).toBe(true);
  });

  test.each([
    ['carries a command out', undefined],
    ['refuses a command', fault('refused')],
  ])('starts again when VVChat %s', (_, answer) => {
    const breaker = new CircuitBreaker();
    expect(breaker.hasAnswered('app')).toBe(false);
    times(MAX_CONSECUTIVE_FAILURES, () => breaker.record(in_('a'), fault('unreachable')));
    times(MAX_CONSECUTIVE_FAILURES, () => breaker.record(in_('a'), fault('busy')));
    expect(breaker.hasAnswered('app')).toBe(false);
    breaker.record(in_('a'), answer);
    expect(breaker.hasAnswered('app')).toBe(true);
    expect(breaker.hasAnswered('another app')).toBe(false);
    expect(breaker.isOpen(in_('a'))).toBe(false);
  });

  test('does not count a function that ran out of time', () => {
    const breaker = new CircuitBreaker();
    times(MAX_CONSECUTIVE_FAILURES, () => breaker.record(in_('a'), new OutOfTimeError()));
    expect(breaker.isOpen(in_('a'))).toBe(false);
    expect(breaker.hasAnswered('app')).toBe(false);
  });
});
