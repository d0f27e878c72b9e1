import { iso, type Table, updateIf } from '../aws/table.ts';
import { errorFields, log } from '../log.ts';
import { VVChatError } from '../vvchat/api.ts';
import { readRow } from '../vvchat/token.ts';
import { isAnswer } from './breaker.ts';
import type { SendFailure } from './send.ts';

/**
 * When VVChat last answered an app, as far as it matters: a worker of which a send had an unknown outcome notes the
 * app's next answer in the table `tokens`, so that `retry` sends what it holds back. Other answers cost nothing.
 */
export interface Answers {
  /** Is called after each send, of which the failure is left out if there was none. It never rejects. */
  readonly record: (app_id: string, failure?: SendFailure) => Promise<void>;
  /** In milliseconds since 1970; undefined if none was noted, or the table cannot be read. It never rejects. */
  readonly latest: (app_id: string) => Promise<number | undefined>;
}

/** For how long a worker waits for the table; in milliseconds. */
export const ANSWERS_MS = 1_000;

/** @param table `tokens`, which has a row for each app that VVChat has given a token */
export function createAnswers(table: Table): Answers {
  const unanswered = new Set<string>();
  const withinTime = () => ({
    ...table,
    options: { abortSignal: AbortSignal.timeout(ANSWERS_MS) },
  });
  return {
    record: async (app_id, failure) => {
      if (failure instanceof VVChatError && failure.fault === 'unknown') unanswered.add(app_id);
      if (!isAnswer(failure) || !unanswered.has(app_id)) return;
      try {
        await note(withinTime(), app_id);
        unanswered.delete(app_id);
      } catch (error) {
        log.warn('answer of VVChat not noted', { app_id, ...errorFields(error) });
      }
    },
    latest: async (app_id) => {
      try {
        const { answered_at } = await readRow(withinTime(), app_id);
        return answered_at === undefined ? undefined : Date.parse(answered_at);
      } catch (error) {
        log.warn('answers of VVChat not read', { app_id, ...errorFields(error) });
        return undefined;
      }
    },
  };
}

const note = (table: Table, app_id: string): Promise<boolean> =>
  updateIf(table, { app_id }, { answered_at: iso(table.now()) }, ['attribute_exists(app_id)']);
