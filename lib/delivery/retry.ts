import { CLOCK_SKEW_MS, LAST_SEND_WAIT_MS } from '../inbox/backoff.ts';
import { type Item, isLastSend, type Key, keyOf, waitedMs } from '../inbox/item.ts';
import { dueRows, read } from '../inbox/queries.ts';
import { claim, exhaustedReason, failExhausted, unclaimed } from '../inbox/transitions.ts';
import { record } from '../metric.ts';
import { CircuitBreaker } from './breaker.ts';
import { ROW_MS, SENDING_MS, WRITE_MS } from './budgets.ts';
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
import { inTurns, Turns } from './turns.ts';
import { repeatWrite } from './write.ts';

/** How many rows are in flight at most. */
export const CONCURRENCY = 100;

/** Of how many sessions of an app the longest held row is sent although VVChat has answered no other. */
const MAX_PROBES = 2;

/** In which share of the runs the quarantine comes first. */
const QUARANTINE_FIRST_RATIO = 1 / 4;

/**
 * Delivers what is due: what failed before, and what a crash left behind; one row of each session in turn.
 *
 * - Quarantined rows are mostly delivered after all others, so that a poison message takes no other down with it; in
 *   some runs they are delivered first, so that fresh poison messages cannot starve them.
 * - Rows whose command has one send left are held back until VVChat has answered another row of their app, or for
 *   {@link LAST_SEND_WAIT_MS}, so that an outage does not use that send up.
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
  readonly #breaker = new CircuitBreaker();
  readonly #quarantine = new Quarantine();
  /** Rows that are held back, by app. */
  readonly #held = new Map<string, Item[]>();
  readonly #began: number;

  constructor(delivery: Delivery) {
    this.#delivery = {
      ...delivery,
      onSend: (item, failure) => this.#breaker.record(item, failure),
    };
    this.#began = delivery.inbox.now();
  }

  /** @returns the errors of reading the index */
  async quarantineLast(): Promise<unknown[]> {
    const { keys, errors } = await this.#readIndex();
    await this.#deliverAll(keys.inTurns(), 1 / 2);
    await this.#deliverHeld(3 / 4);
    await this.#deliverQuarantine(1);
    return errors;
  }

  /** @returns the errors of reading the index */
  async quarantineFirst(): Promise<unknown[]> {
    const { keys, errors } = await this.#readIndex();
    const others: Key[] = [];
    const setAside = (key: Key) =>
      this.#inspect(key, async (item) => void others.push(keyOf(item)));
    await forEachConcurrent(keys.inTurns(), CONCURRENCY, setAside, this.#isPast(1 / 4));
    await this.#deliverQuarantine(1 / 2);
    await this.#deliverAll(others.values(), 3 / 4);
    await this.#deliverHeld(1);
    return errors;
  }

  /** Reads which rows are due before the first is delivered: only so can all sessions have their turn. */
  async #readIndex(): Promise<{ keys: Turns; errors: unknown[] }> {
    const keys = new Turns();
    const isPast = this.#isPast(1 / 8);
    try {
      for await (const key of dueRows(this.#delivery.inbox)) {
        keys.add(key);
        if (keys.isFull || isPast()) break;
      }
      return { keys, errors: [] };
    } catch (error) {
      return { keys, errors: [error] };
    }
  }

  async #deliverAll(keys: IterableIterator<Key>, share: number): Promise<void> {
    const take = (key: Key) => this.#inspect(key, (item) => this.#deliverOrHold(item));
    await forEachConcurrent(keys, CONCURRENCY, take, this.#isPast(share));
  }

  async #deliverQuarantine(share: number): Promise<void> {
    const isOver = this.#isPast(share);
    for (const item of this.#quarantine.drain()) {
      if (isOver()) return;
      this.outcomes.push(await logOutcome(item, () => this.#deliver(item)));
    }
  }

  /**
   * Delivers held rows of the apps that VVChat has answered in this run, or has answered a worker of `reply` since. Of
   * another app the longest held rows of a few sessions are sent once their time is up, and the others follow if VVChat
   * answers one. So an outage that lasts costs {@link MAX_PROBES} messages a run, and one session whose sends fail keeps
   * no other's waiting.
   */
  async #deliverHeld(share: number): Promise<void> {
    // They need no time for the robot.
    const isOver = this.#isPast(share, SENDING_MS);
    const deliverReleased = (item: Item, isReleased: boolean) =>
      this.#deliverLogged(item, isReleased || this.#breaker.hasAnswered(item.app_id));
    const deliverApp = async ([app_id, items]: [string, readonly Item[]]) => {
      const answeredAt = await this.#delivery.answers.latest(app_id);
      const { probes, others } = heldInTurns(items);
      for (const probe of probes) {
        if (isOver()) return;
        await deliverReleased(probe, this.#isTimeUp(probe) || isAnsweredSince(probe, answeredAt));
      }
      const deliverOther = (item: Item) => deliverReleased(item, isAnsweredSince(item, answeredAt));
      await forEachConcurrent(others.values(), CONCURRENCY, deliverOther, isOver);
    };
    await Promise.all([...this.#held].map(deliverApp));
  }

  #isTimeUp({ unknown_at }: Item): boolean {
    const { now } = this.#delivery.inbox;
    return unknown_at !== undefined && now() >= Date.parse(unknown_at) + LAST_SEND_WAIT_MS;
  }

  async #deliverLogged(item: Item, isReleased: boolean): Promise<void> {
    const work = async (): Promise<Outcome> => (isReleased ? this.#deliver(item) : 'skipped');
    this.outcomes.push(await logOutcome(item, work));
  }

  /**
   * Whether a share of the time is over in which rows may be begun.
   *
   * @param rowMs how long one of them may take
   */
  #isPast(share: number, rowMs = ROW_MS): () => boolean {
    const { inbox, deadline } = this.#delivery;
    const end = this.#began + (deadline - rowMs - this.#began) * share;
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

  async #deliverOrHold(item: Item): Promise<Outcome | undefined> {
    const isExhausted = exhaustedReason(item, this.#delivery.inbox.now()) !== undefined;
    if (isExhausted) return deliverClaimed(this.#delivery, item);
    if (!isLastSend(item)) return this.#deliver(item);
    const held = this.#held.get(item.app_id) ?? [];
    held.push(item);
    this.#held.set(item.app_id, held);
    return undefined;
  }

  async #deliver(item: Item): Promise<Outcome> {
    return this.#breaker.isOpen(item) ? 'skipped' : deliverClaimed(this.#delivery, item);
  }
}

/** The longest held rows of a few sessions; then the others, one of each session in turn. */
function heldInTurns(items: readonly Item[]) {
  const sessions = Map.groupBy(items.toSorted(byUnknownAt), (it) => it.session_open_id);
  const ordered = [...inTurns(sessions)].map(([, item]) => item);
  const probes = Math.min(sessions.size, MAX_PROBES);
  return { probes: ordered.slice(0, probes), others: ordered.slice(probes) };
}

const byUnknownAt = (a: Item, b: Item): number =>
  Date.parse(`${a.unknown_at}`) - Date.parse(`${b.unknown_at}`);

/** Whether VVChat answered after the send, whatever the clocks. */
const isAnsweredSince = ({ unknown_at }: Item, answeredAt = 0): boolean =>
  unknown_at !== undefined && answeredAt > Date.parse(unknown_at) + CLOCK_SKEW_MS;

async function deliverClaimed(delivery: Delivery, item: Item): Promise<Outcome> {
  const { inbox, deadline } = delivery;
  const reason = exhaustedReason(item, inbox.now());
  if (reason !== undefined) return countOutcome(inbox, await failExhausted(inbox, item, reason));
  // A claim whose answer is lost would count as a call of the robot, so the worker finds out.
  const lease = unclaimed(item);
  const end = Math.min(inbox.now() + WRITE_MS, deadline - ROW_MS);
  const claimed = await repeatWrite(inbox, end, () => claim(inbox, item, lease));
  return deliver(delivery, claimed);
}
