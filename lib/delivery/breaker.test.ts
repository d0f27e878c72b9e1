import { describe, expect, test } from 'vitest';
import { CircuitBreaker } from './breaker.ts';

describe('a circuit breaker', () => {
  test('opens after so many consecutive failures, for that key alone', () => {
    const breaker = new CircuitBreaker(2);
    breaker.recordFailure('a');
    expect(breaker.isOpen('a')).toBe(false);
    breaker.recordFailure('a');
    expect(breaker.isOpen('a')).toBe(true);
    expect(breaker.isOpen('b')).toBe(false);
  });

  test('counts from the start again after a success', () => {
    const breaker = new CircuitBreaker(2);
    breaker.recordFailure('a');
    breaker.recordSuccess('a');
    breaker.recordFailure('a');
    expect(breaker.isOpen('a')).toBe(false);
  });
});
