import type { Handler } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Change } from './state.ts';
import type { Store } from './store.ts';

/** A comment in the stream now and then finds out pages that are gone. */
const PING_MS = 15_000;

/** A page that is so far behind gets all anew instead. */
const MAX_BEHIND = 2_000;

/**
 * Server-sent events: `whole` has all that there is, and each `changes` what came since.
 * Source: HTML Living Standard, section 9.2.
 */
export const streamChanges =
  (store: Store, adminUrl: string): Handler =>
  (c) =>
    streamSSE(c, async (stream) => {
      let changes: Change[] | 'whole' = 'whole';
      let wake = () => {};
      const end = store.listen((change) => {
        if (changes === 'whole') return;
        if (changes.length < MAX_BEHIND) changes.push(change);
        else changes = 'whole';
        wake();
      });
      const ping = setInterval(() => void stream.write(':\n\n'), PING_MS);
      stream.onAbort(() => {
        end();
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
        const event = changes === 'whole' ? 'whole' : 'changes';
        const told = changes === 'whole' ? { changes: store.whole(), adminUrl } : changes;
        changes = [];
        await stream.writeSSE({ event, data: JSON.stringify(told) });
      }
    });
