import type { Handler } from 'hono';
import { streamSSE } from 'hono/streaming';
import type { Change } from './state.ts';
import type { Store } from './store.ts';

/** A comment in the stream now and then finds out pages that are gone. */
const PING_MS = 15_000;

/**
 * Server-sent events: `whole` has all that there is, and each `changes` what came since.
 * Source: HTML Living Standard, section 9.2.
 */
export const streamChanges =
  (store: Store, adminUrl: string): Handler =>
  (c) =>
    streamSSE(c, async (stream) => {
      const changes: Change[] = [];
      let wake = () => {};
      const end = store.listen((change) => {
        changes.push(change);
        wake();
      });
      stream.onAbort(() => {
        end();
        wake();
      });
      const whole = { changes: store.whole(), adminUrl };
      await stream.writeSSE({ event: 'whole', data: JSON.stringify(whole) });
      while (!stream.aborted) {
        if (changes.length > 0) {
          const data = JSON.stringify(changes.splice(0));
          await stream.writeSSE({ event: 'changes', data });
          continue;
        }
        const ping = setTimeout(() => void stream.write(':\n\n'), PING_MS);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        clearTimeout(ping);
      }
    });
