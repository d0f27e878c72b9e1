/**
 * Works on the items, so many at a time, until there are none left or the time is over.
 *
 * @param work must not reject
 * @param isOver asked before each item
 */
export async function forEachConcurrent<T>(
  items: IterableIterator<T>,
  concurrency: number,
  work: (item: T) => Promise<void>,
  isOver: () => boolean,
): Promise<void> {
  await Promise.all(Array.from({ length: concurrency }, () => forEachUntil(items, work, isOver)));
}

async function forEachUntil<T>(
  items: IterableIterator<T>,
  work: (item: T) => Promise<void>,
  isOver: () => boolean,
): Promise<void> {
  for (const item of items) {
    if (isOver()) return;
    await work(item);
  }
}
