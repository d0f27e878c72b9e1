/**
 * Why the studio refuses an action or fails at it, with the HTTP status of the response. The sentences are in
 * page/texts.ts, which does not compile while one is missing.
 */
export const ERROR_STATUSES = {
  'invalid-input': 400,
  'foreign-page': 403,
  'no-such-chat': 409,
  'no-such-robot': 409,
  'groups-only': 409,
  'robot-already-in-group': 409,
  'too-many-chats': 409,
  'input-too-large': 413,
  'not-json': 415,
  unexpected: 500,
  'retry-failed': 502,
} as const;

export type ErrorCode = keyof typeof ERROR_STATUSES;

/** The body of a response that is an error. */
export interface ErrorBody {
  readonly code: ErrorCode;
  /** A sentence in English, for callers other than the page. */
  readonly error: string;
  /** The particulars, in no language of ours: a field, or another part's message. */
  readonly detail?: string;
}

/** An action of the studio that is refused or fails. */
export class StudioError extends Error {
  override readonly name = 'StudioError';
  readonly code: ErrorCode;
  readonly detail: string | undefined;

  constructor(code: ErrorCode, detail?: string) {
    super(code);
    this.code = code;
    this.detail = detail;
  }
}
