import { crashed, type Item, robotCallsOf } from '../inbox/item.ts';
import { exhaustedReason } from '../inbox/transitions.ts';

/**
 * Rows whose last worker crashed. Such a row may hold a poison message, which crashes every function that works on
 * it, so these rows are processed one at a time and apart from all others.
 */
export class Quarantine {
  readonly #items: Item[] = [];

  /** Whether a due row belongs here. One that is to be failed calls no robot, and does no harm. */
  static includes(item: Item, now: number): boolean {
    return crashed(item) && exhaustedReason(item, now) === undefined;
  }

  add(item: Item): void {
    this.#items.push(item);
  }

  /** Removes and returns all rows, those first for which the robot was called least. */
  drain(): Item[] {
    return this.#items.splice(0).sort((a, b) => robotCallsOf(a) - robotCallsOf(b));
  }
}
