import type { Item } from '../inbox/item.ts';
import { VVChatError } from '../vvchat/api.ts';
import { NoTokenError } from '../vvchat/token.ts';
import { OutOfTimeError, type SendFailure } from './send.ts';

/** After so many consecutive failures a conversation's rows, or an app's, are skipped for the rest of the run. */
export const MAX_CONSECUTIVE_FAILURES = 5;

type Conversation = Pick<Item, 'app_id' | 'session_open_id'>;

interface App {
  /** How often in a row VVChat, or a token, could not be had. */
  unreachable: number;
  /** Conversations of which a command has failed since VVChat last answered one of the app's. */
  readonly failing: Set<string>;
  /** How many commands in a row have failed, by conversation. */
  readonly failures: Map<string, number>;
  hasAnswered: boolean;
}

/**
 * A circuit breaker over the sends of one run. A conversation is skipped after {@link MAX_CONSECUTIVE_FAILURES}
 * failures in a row. An app is skipped when as many of its conversations fail in a row, or when VVChat or the app's
 * token cannot be had as often. The robot's own errors count for neither, so that no conversation can keep the
 * others of its app waiting.
 */
export class CircuitBreaker {
  readonly #apps = new Map<string, App>();

  isOpen({ app_id, session_open_id }: Conversation): boolean {
    const { unreachable, failing, failures } = this.#app(app_id);
    const count = Math.max(unreachable, failing.size, failures.get(session_open_id) ?? 0);
    return count >= MAX_CONSECUTIVE_FAILURES;
  }

  /** Whether VVChat has answered a command of the app in this run. */
  hasAnswered(app_id: string): boolean {
    return this.#app(app_id).hasAnswered;
  }

  /** @param failure of a send; left out when VVChat carried the command out */
  record({ app_id, session_open_id }: Conversation, failure?: SendFailure): void {
    if (failure instanceof OutOfTimeError) return;
    const app = this.#app(app_id);
    if (isAnswer(failure)) {
      app.hasAnswered = true;
      app.unreachable = 0;
      app.failing.clear();
      app.failures.delete(session_open_id);
    } else if (isUnreachable(failure)) {
      app.unreachable++;
    } else {
      app.failing.add(session_open_id);
      app.failures.set(session_open_id, (app.failures.get(session_open_id) ?? 0) + 1);
    }
  }

  #app(app_id: string): App {
    const known = this.#apps.get(app_id);
    if (known) return known;
    const app: App = {
      unreachable: 0,
      failing: new Set(),
      failures: new Map(),
      hasAnswered: false,
    };
    this.#apps.set(app_id, app);
    return app;
  }
}

/** A refusal is about one command: VVChat works. */
export const isAnswer = (failure: SendFailure | undefined): boolean =>
  failure === undefined || (failure instanceof VVChatError && failure.fault === 'refused');

const isUnreachable = (failure: SendFailure | undefined): boolean =>
  failure instanceof NoTokenError ||
  (failure instanceof VVChatError && failure.fault === 'unreachable');
