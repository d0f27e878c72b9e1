import * as http from 'node:http';
import * as https from 'node:https';
import * as v from 'valibot';
import type { Message } from './command.ts';

/** A client of VVChat's robot API. Source: robot protocol v1, "Robot API". */
export interface RobotApi {
  /** @throws {VVChatError} */
  readonly fetchToken: (app_id: string, app_key: string) => Promise<FetchedToken>;
  /** @throws {VVChatError} */
  readonly send: (robot_no: string, token: string, message: Message) => Promise<void>;
}

export interface FetchedToken {
  readonly token: string;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * - `unreachable`: nothing was sent
 * - `unknown`: the request, or a part of it, was sent, and its outcome cannot be known; a gateway that answers 504
 *   does not know it either
 * - `doubtful`: another 5xx than 503 and 504: most likely nothing was carried out, but only VVChat knows
 * - `busy`: 429, 503, or a redirect, which is not followed: nothing was carried out, and a retry may succeed
 * - `refused`: another 4xx: nothing was carried out, and the same request never will be; so counts a 2xx with an
 *   `err_code` in its body, which is not documented and may have been carried out nevertheless
 */
export type VVChatFault = 'unreachable' | 'unknown' | 'doubtful' | 'busy' | 'refused';

/** A call that failed. Neither message nor detail holds a key or a token. */
export class VVChatError extends Error {
  override readonly name = 'VVChatError';
  readonly fault: VVChatFault;
  /** VVChat's own `err_msg`, which may repeat what was sent: stored in the row, never logged. */
  readonly detail: string | undefined;
  readonly retryAfterMs: number | undefined;
  /**
   * Of a command that is `refused`: VVChat answered 2xx with an `err_code`. If it is sent again, the row
   * has to list it as of unknown outcome.
   */
  readonly isDoubtful: boolean;

  constructor(
    fault: VVChatFault,
    message: string,
    {
      detail,
      retryAfterMs,
      isDoubtful = false,
      cause,
    }: { detail?: string; retryAfterMs?: number; isDoubtful?: boolean; cause?: unknown } = {},
  ) {
    super(message, { cause });
    this.fault = fault;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
    this.isDoubtful = isDoubtful;
  }
}

/** How long one request may take, from the name look-up to the last byte, in milliseconds. */
export const REQUEST_MS = 5_000;

/** How long the body of a success is waited for: a command that was carried out must not hold its row for long. */
export const BODY_MS = 1_000;

/** The most that is read of an answer; the connection is destroyed beyond. */
const MAX_BODY_BYTES = 64 * 1024;

/** @param apiUrl without a slash at its end, such as `https://vvchat.example` */
export function createRobotApi(apiUrl: string, now: () => number = Date.now): RobotApi {
  const call = async (path: string, query: Record<string, string>, body?: Message) => {
    const url = new URL(`${apiUrl}/robotapi/v1/${path}`);
    url.search = new URLSearchParams(query).toString();
    const answer = await exchange(url, body && JSON.stringify(body));
    if (!isSuccess(answer) || hasError(answer)) throw faultOf(answer, Object.values(query), now());
    return answer.body;
  };
  return {
    fetchToken: async (app_id, app_key) => tokenOf(await call('token', { app_id, app_key }), now()),
    send: async (robot_no, token, message) => {
      await call('message/send', { robot_no, token }, message);
    },
  };
}

const Token = v.object({
  token: v.pipe(v.string(), v.nonEmpty(), v.maxLength(4096)),
  expire_in: v.pipe(
    v.union([v.number(), v.pipe(v.string(), v.regex(/^\d{1,11}$/), v.transform(Number))]),
    v.minValue(1),
    v.maxValue(1e11),
  ),
});

/** The platform's user API has an absolute Unix time under the same name. Source: robot protocol v1, "Token". */
const ABSOLUTE_TIME_SECONDS = 1_000_000_000;

function tokenOf(body: string | undefined, now: number): FetchedToken {
  const result = v.safeParse(v.pipe(v.string(), v.parseJson(), Token), body);
  if (!result.success) {
    throw new VVChatError('busy', 'VVChat answered 200 without a token and its time to live.');
  }
  const { token, expire_in } = result.output;
  const expiresAt = expire_in * 1_000 + (expire_in > ABSOLUTE_TIME_SECONDS ? 0 : now);
  return { token, expiresAt };
}

interface HttpAnswer {
  readonly status: number;
  readonly retryAfter: string | undefined;
  /** Left out when it did not come whole, or is longer than 64 KiB. */
  readonly body?: string;
}

/** 200 is documented. Another 2xx is no reason to send a command again. */
const isSuccess = ({ status }: HttpAnswer) => status >= 200 && status < 300;

/**
 * Whether the body names an error whatever the status. VVChat documents errors with 400 alone, so this is a guess. It
 * is on the safe side: if the command was not carried out, it would be lost silently as a success; if it was, its row
 * fails where an operator sees it, or lists the command as of unknown outcome. A body that is not JSON, breaks off, or
 * is late or too long does not refute a success.
 */
function hasError({ body }: HttpAnswer): boolean {
  const { err_code } = errorOf(body);
  return err_code !== undefined && err_code !== 0 && err_code !== 200;
}

/**
 * Sends one request over a connection of its own. A connection kept from an earlier invocation may be dead, and a
 * reset on it would leave the outcome unknown.
 *
 * If a robot blocks the thread, overdue timers run before what has arrived is read. An immediate runs after it, so that
 * no command counts as of unknown outcome whose answer is there.
 */
function exchange(url: URL, body: string | undefined): Promise<HttpAnswer> {
  const secure = url.protocol === 'https:';
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>();
  let isLate = false;
  let connected = false;
  const request = (secure ? https : http).request(url, {
    agent: false,
    method: body === undefined ? 'GET' : 'POST',
    headers: body === undefined ? {} : { 'Content-Type': 'application/json' },
  });
  const destroy = () => void request.destroy();
  const timer = setTimeout(() => {
    isLate = true;
    // Without a connection nothing was sent, and nothing may be once there is one.
    if (connected) setImmediate(destroy);
    else destroy();
  }, REQUEST_MS);
  request.on('socket', (socket) => {
    socket.once(secure ? 'secureConnect' : 'connect', () => {
      connected = true;
    });
  });
  let head: HttpAnswer | undefined;
  request.on('response', async (response) => {
    head = {
      status: response.statusCode as number,
      retryAfter: response.headers['retry-after'],
    };
    const isSent = isSuccess(head) && body !== undefined;
    const late = isSent ? setTimeout(() => setImmediate(destroy), BODY_MS) : undefined;
    const text = await readBody(response);
    clearTimeout(late);
    resolve(text === undefined ? head : { ...head, body: text });
    request.destroy();
  });
  const broken = (cause: Error) => {
    if (head) return;
    const code = isLate ? `no answer within ${REQUEST_MS / 1_000} s` : codeOf(cause);
    reject(
      connected
        ? new VVChatError('unknown', `the request to VVChat broke off (${code})`, { cause })
        : new VVChatError('unreachable', `VVChat cannot be reached (${code})`, { cause }),
    );
  };
  request.on('error', broken);
  // Without an error or a response, as after 101.
  request.on('close', () => {
    clearTimeout(timer);
    broken(new Error('closed'));
  });
  request.end(body);
  return promise;
}

/** The status came, so an error of the connection is not reported. */
async function readBody(response: http.IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of response) {
      bytes += chunk.length;
      if (bytes > MAX_BODY_BYTES) return undefined;
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  } catch {
    return undefined;
  }
}

/** Node's name for what went wrong, such as ECONNREFUSED. */
const codeOf = (cause: Error) =>
  'code' in cause && typeof cause.code === 'string' ? cause.code : cause.name;

function faultOf(answer: HttpAnswer, query: readonly string[], now: number): VVChatError {
  const { status, retryAfter, body } = answer;
  const { err_code, err_msg } = errorOf(body);
  const isDoubtful = isSuccess(answer);
  const fault = isDoubtful ? 'refused' : faultIn(status);
  const retryAfterMs = fault === 'refused' ? undefined : readRetryAfter(retryAfter, now);
  return new VVChatError(
    fault,
    `VVChat answered ${status}${err_code === undefined ? '' : ` (err_code ${err_code})`}`,
    {
      ...(err_msg !== undefined && { detail: redacted(err_msg, query) }),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
      isDoubtful,
    },
  );
}

function faultIn(status: number): VVChatFault {
  if (status === 504) return 'unknown';
  if (status === 429 || status === 503 || status < 400) return 'busy';
  return status >= 500 ? 'doubtful' : 'refused';
}

/** Documented as a number. */
const ErrorCode = v.pipe(
  v.union([v.number(), v.pipe(v.string(), v.regex(/^-?\d{1,15}$/), v.transform(Number))]),
  v.safeInteger(),
);

const ErrorBody = v.pipe(
  v.string(),
  v.parseJson(),
  v.object({
    err_code: v.fallback(v.optional(ErrorCode), undefined),
    err_msg: v.fallback(v.optional(v.string()), undefined),
  }),
);

function errorOf(body: string | undefined) {
  const result = v.safeParse(ErrorBody, body);
  return result.success ? result.output : {};
}

/** VVChat's message without any value of the query string, in whatever encoding, and at most 200 characters long. */
function redacted(message: string, query: readonly string[]): string {
  const text = query
    .flatMap((value) => [
      value,
      encodeURIComponent(value),
      new URLSearchParams({ '': value }).toString().slice(1),
    ])
    .filter((value) => value !== '')
    .sort((a, b) => b.length - a.length)
    .reduce(
      (text, value) =>
        text.replace(new RegExp(value.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'), 'gi'), '…'),
      message,
    );
  if (query.some((value) => haveCommonRun(text, value))) return '(withheld: it repeats a secret)';
  return text
    .replace(/\p{Cc}+/gu, ' ')
    .slice(0, 200)
    .toWellFormed();
}

/** So many consecutive letters and digits of a secret count as a part of it. */
const RUN = 6;

/** Whether a text contains a part of a value, in whatever encoding. */
function haveCommonRun(text: string, value: string): boolean {
  const [all, whole] = [lettersOf(text), lettersOf(value)];
  return Array.from({ length: Math.max(whole.length - RUN + 1, 0) }, (_, i) =>
    whole.slice(i, i + RUN),
  ).some((part) => all.includes(part));
}

const lettersOf = (text: string) =>
  percentDecoded(percentDecoded(text))
    .replace(/&#?\w+;/g, '')
    .replace(/[^a-z\d]/gi, '')
    .toLowerCase();

const percentDecoded = (text: string) =>
  text.replace(/%([\da-f]{2})/gi, (_, code) => String.fromCharCode(Number.parseInt(code, 16)));

/** Seconds or an HTTP date. Source: RFC 9110, section 10.2.3. */
function readRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const milliseconds = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(milliseconds) ? undefined : Math.max(milliseconds, 0);
}
