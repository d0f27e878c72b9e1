import type { Handler } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Change } from './state.ts';
import type { Store } from './store.ts';

/** A comment is written this often, so that closed pages are noticed. */
const PING_MS = 15_000;

/** A page that is this many changes behind gets a new snapshot instead. */
const MAX_BEHIND = 2_000;

/**
 * Server-sent events: `snapshot` with the whole state, then `changes` as they come.
 * Source: HTML Living Standard, section 9.2.
 */
export const streamChanges =
  (store: Store, adminUrl: string): Handler =>
  (c) =>
    streamSSE(c, async (stream) => {
      let changes: Change[] | 'snapshot' = 'snapshot';
      let wake = () => {};
      const stopListening = store.listen((change) => {
        if (changes === 'snapshot') return;
        if (changes.length < MAX_BEHIND) changes.push(change);
        else changes = 'snapshot';
        wake();
      });
      const ping = setInterval(() => void stream.write(':\n\n'), PING_MS);
      stream.onAbort(() => {
        stopListening();
        clearInterval(ping);
        wake();
      });
      while (!stream.aborted) {
        if (changes.length === 0) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
          continue;
        }
        const event = changes === 'snapshot' ? 'snapshot' : 'changes';
        const data = changes === 'snapshot' ? { changes: store.snapshot(), adminUrl } : changes;
        changes = [];
        await stream.writeSSE({ event, data: JSON.stringify(data) });
      }
    });
