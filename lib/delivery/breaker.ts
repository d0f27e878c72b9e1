/** A circuit breaker: opens for a key after so many consecutive failures, and then stays open. */
export class CircuitBreaker {
  readonly #maxConsecutiveFailures: number;
  readonly #failures = new Map<string, number>();

  constructor(maxConsecutiveFailures: number) {
    this.#maxConsecutiveFailures = maxConsecutiveFailures;
  }

  isOpen(key: string): boolean {
    return this.#failuresOf(key) >= this.#maxConsecutiveFailures;
  }

  recordFailure(key: string): void {
    this.#failures.set(key, this.#failuresOf(key) + 1);
  }

  recordSuccess(key: string): void {
    this.#failures.delete(key);
  }

  #failuresOf(key: string): number {
    return this.#failures.get(key) ?? 0;
  }
}
