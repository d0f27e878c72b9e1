import { type Item, type Key, waitedMs } from '../inbox/item.ts';
import { dueRows, read } from '../inbox/queries.ts';
import { claim, exhaustedReason, failExhausted } from '../inbox/transitions.ts';
import { record } from '../metric.ts';
import { CircuitBreaker } from './breaker.ts';
import { ROW_MS } from './budgets.ts';
import { forEachConcurrent } from './concurrent.ts';
import { deliver } from './deliver.ts';
import {
  countOutcome,
  type Delivery,
  logOutcome,
  type Outcome,
  type Summary,
  summaryOf,
} from './delivery.ts';
import { Quarantine } from './quarantine.ts';

/** How many rows are in flight at most. */
export const CONCURRENCY = 100;

/** After so many consecutive failures an app's rows are skipped for the rest of the run. */
export const MAX_CONSECUTIVE_FAILURES = 5;

/** In which share of the runs the quarantine comes first. */
const QUARANTINE_FIRST_RATIO = 1 / 4;

/**
 * Delivers what is due: what failed before, and what a crash left behind. Quarantined rows are mostly delivered after
 * all others, so that a poison message takes no other down with it; in some runs they are delivered first, so that
 * fresh poison messages cannot starve them.
 *
 * @throws when the index could not be read whole, after all that could be read was delivered
 */
export async function deliverDue(delivery: Delivery): Promise<Summary> {
  const { inbox } = delivery;
  const run = new Run(delivery);
  const isQuarantineFirst = inbox.random() < QUARANTINE_FIRST_RATIO;
  const errors = isQuarantineFirst ? await run.quarantineFirst() : await run.quarantineLast();
  if (errors.length > 0) throw errors[0];
  record({ OldestDueSeconds: Math.round(run.oldestMs / 1_000) });
  return summaryOf(run.outcomes);
}

/** One run over all that is due. */
class Run {
  readonly outcomes: Outcome[] = [];
  /** For how long the row has waited that has waited longest. */
  oldestMs = 0;
  readonly #delivery: Delivery;
  readonly #apps = new CircuitBreaker(MAX_CONSECUTIVE_FAILURES);
  readonly #quarantine = new Quarantine();
  readonly #began: number;

  constructor(delivery: Delivery) {
    this.#delivery = delivery;
    this.#began = delivery.inbox.now();
  }

  /** @returns the errors of reading the index */
  async quarantineLast(): Promise<unknown[]> {
    const errors = await this.#deliverAll(dueRows(this.#delivery.inbox), 1 / 2);
    await this.#deliverQuarantine(1);
    return errors;
  }

  /** @returns the errors of reading the index */
  async quarantineFirst(): Promise<unknown[]> {
    const others: Key[] = [];
    const setAside = (key: Key) => this.#inspect(key, async (item) => void others.push(item));
    const isOver = this.#isPast(1 / 4);
    const errors = await forEachConcurrent(
      dueRows(this.#delivery.inbox),
      CONCURRENCY,
      setAside,
      isOver,
    );
    await this.#deliverQuarantine(1 / 2);
    await this.#deliverAll(others.values(), 1);
    return errors;
  }

  #deliverAll(keys: AsyncIterable<Key> | IterableIterator<Key>, share: number) {
    const take = (key: Key) => this.#inspect(key, (item) => this.#deliver(item));
    return forEachConcurrent(keys, CONCURRENCY, take, this.#isPast(share));
  }

  async #deliverQuarantine(share: number): Promise<void> {
    const isOver = this.#isPast(share);
    for (const item of this.#quarantine.drain()) {
      if (isOver()) return;
      this.outcomes.push(await logOutcome(item, () => this.#deliver(item)));
    }
  }

  /** Whether a share of the time is over in which rows may be begun. */
  #isPast(share: number): () => boolean {
    const { inbox, deadline } = this.#delivery;
    const end = this.#began + (deadline - ROW_MS - this.#began) * share;
    return () => inbox.now() > end;
  }

  /** Reads a row, and quarantines it or hands it on. */
  async #inspect(key: Key, handOn: (item: Item) => Promise<Outcome | undefined>): Promise<void> {
    const outcome = await logOutcome(key, async () => {
      const item = await read(this.#delivery.inbox, key);
      const now = this.#delivery.inbox.now();
      if (!item) return 'absent';
      if (item.status !== 'pending' || Date.parse(item.next_attempt_at) > now) return 'taken';
      this.oldestMs = Math.max(this.oldestMs, waitedMs(item, now));
      if (!Quarantine.includes(item, now)) return handOn(item);
      this.#quarantine.add(item);
      return undefined;
    });
    if (outcome) this.outcomes.push(outcome);
  }

  async #deliver(item: Item): Promise<Outcome> {
    const { app_id } = item;
    if (this.#apps.isOpen(app_id)) return 'skipped';
    const outcome = await deliverClaimed(this.#delivery, item);
    if (outcome === 'postponed') this.#apps.recordFailure(app_id);
    else this.#apps.recordSuccess(app_id);
    return outcome;
  }
}

async function deliverClaimed(delivery: Delivery, item: Item): Promise<Outcome> {
  const { inbox } = delivery;
  const reason = exhaustedReason(item, inbox.now());
  if (reason === undefined) return deliver(delivery, await claim(inbox, item));
  return countOutcome(inbox, await failExhausted(inbox, item, reason));
}
