import type { Table } from '../aws/table.ts';
import { errorFields, log } from '../log.ts';
import { isMuted, type Mute, readMutes, type Target } from '../mute.ts';

/** Which rows are not to be answered now. A container reads the list of mutes once for many rows. */
export interface Mutes {
  /**
   * Whether a row's session or app is muted. It reads the mutes if the last reading is older than {@link REFRESH_MS}.
   * It never rejects, and takes {@link READ_MS} at most: if the list cannot be read, the last one counts for
   * {@link MAX_AGE_MS}, and without any nothing is muted. An answer too many is a nuisance; rows that wait for this table
   * would make of its outage one of the whole robot.
   */
  readonly include: (item: Target) => Promise<boolean>;
}

/** For how long a reading counts; in milliseconds. */
export const REFRESH_MS = 30_000;

/** How long a row waits for a reading. */
export const READ_MS = 1_000;

/** After a reading that failed, none is begun for so long. */
export const FAILED_READ_MS = 5_000;

/** For how long a list counts at most, so that a mute that has ended settles no row unanswered. */
export const MAX_AGE_MS = 5 * 60_000;

export const createMutes = (table: Table): Mutes => new CachedMutes(table);

class CachedMutes implements Mutes {
  readonly #table: Table;
  #mutes: readonly Mute[] = [];
  #readAt = Number.NEGATIVE_INFINITY;
  #staleAt = Number.NEGATIVE_INFINITY;
  #inFlight: Promise<void> | undefined;

  constructor(table: Table) {
    this.#table = table;
  }

  async #refresh(): Promise<void> {
    if (this.#table.now() < this.#staleAt) return;
    this.#inFlight ??= this.#read().finally(() => {
      this.#inFlight = undefined;
    });
    await this.#inFlight;
  }

  async include(item: Target): Promise<boolean> {
    await this.#refresh();
    return isMuted(item, this.#mutes, this.#table.now());
  }

  async #read(): Promise<void> {
    const { now } = this.#table;
    const began = now();
    try {
      const options = { abortSignal: AbortSignal.timeout(READ_MS) };
      this.#mutes = await readMutes({ ...this.#table, options });
      this.#readAt = began;
      this.#staleAt = began + REFRESH_MS;
    } catch (error) {
      log.warn('mutes not read: the last list counts', errorFields(error));
      this.#staleAt = now() + FAILED_READ_MS;
      if (now() >= this.#readAt + MAX_AGE_MS) this.#mutes = [];
    }
  }
}
