/**
 * Works on the items, so many at a time, until there are none left or the time is over. Items are taken from the
 * iterable as there is room for them.
 *
 * @param work must not reject
 * @param isOver asked before each item
 * @returns the errors of the iterable itself
 */
export async function forEachConcurrent<T>(
  items: AsyncIterable<T> | IterableIterator<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
  isOver: () => boolean,
): Promise<unknown[]> {
  const workers = Array.from({ length: concurrency }, () => forEachUntil(items, work, isOver));
  const results = await Promise.allSettled(workers);
  return results.flatMap((it) => (it.status === 'rejected' ? [it.reason] : []));
}

async function forEachUntil<T>(
  items: AsyncIterable<T> | IterableIterator<T>,
  work: (item: T) => Promise<void>,
  isOver: () => boolean,
): Promise<void> {
  for await (const item of items) {
    if (isOver()) return;
    await work(item);
  }
}
