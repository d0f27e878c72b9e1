/** The quartiles of a sample. */
export interface Spread {
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
}

/** @throws {RangeError} for an empty sample */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  return { q1: quantile(sorted, 0.25), median: quantile(sorted, 0.5), q3: quantile(sorted, 0.75) };
}

/**
 * The value below which a share of a sample lies, between two values in proportion.
 *
 * @param sorted ascending
 * @throws {RangeError} for an empty sample
 */
export function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)], sorted[Math.ceil(at)]];
  if (low === undefined || high === undefined) throw new RangeError('An empty sample.');
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * How many times the base something is, pair by pair: both were measured in the same round, so that what slowed
 * the machine for a while is in both.
 */
export const ratiosOf = (values: readonly number[], base: readonly number[]): number[] =>
  values.map((value, i) => value / (base[i] ?? Number.NaN));

/** An interval that has the true median of a sample in 95 of 100 cases, whatever its distribution. */
export function medianInterval(values: readonly number[]): readonly [low: number, high: number] {
  const sorted = values.toSorted((a, b) => a - b);
  const half = 0.98 * Math.sqrt(sorted.length);
  const low = Math.max(Math.floor(sorted.length / 2 - half), 0);
  const high = Math.min(Math.ceil(sorted.length / 2 + half), sorted.length - 1);
  return [sorted[low] ?? Number.NaN, sorted[high] ?? Number.NaN];
}

/** The list from its `by`th element on, and then those before it. */
export function rotated<T>(list: readonly T[], by: number): T[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}
