import { SafeError } from '../safe-error.ts';
import type { Session } from './event.ts';

/** What a robot has VVChat do. Source: robot protocol v1, "Robot API", table of commands. */
export type Command =
  | { readonly cmd: 'send-text'; readonly params: { readonly text: string } }
  | {
      readonly cmd: 'webview-group-open';
      readonly params: { readonly height: string; readonly url: string };
    }
  | { readonly cmd: 'webview-group-close' }
  | {
      readonly cmd: 'webview-group-refresh';
      readonly params: { readonly height?: string; readonly url: string };
    };

/** A share of the screen, `1%` to `100%`, or a whole number of pixels. */
export type Height = `${number}%` | number;

/** A command that VVChat could not carry out, however often it was sent. */
export class InvalidCommandError extends SafeError {
  override readonly name = 'InvalidCommandError';
}

/**
 * Sends a text to the session.
 *
 * @throws {InvalidCommandError} for a text of white space alone
 */
export function sendText(text: string): Command {
  if (typeof text !== 'string' || text.trim() === '') {
    throw new InvalidCommandError(
      'sendText: the text is empty; pass at least one visible character.',
    );
  }
  return { cmd: 'send-text', params: { text } };
}

/**
 * Opens the web view of a group, or loads another page in it.
 *
 * @param options.url sent in its normal form: `https://Example.com` becomes `https://example.com/`
 * @throws {InvalidCommandError} for an invalid height, and for an address that is not http or https with `//`, or has
 *   a user name, a password, a control character or a backslash
 */
export function openWebview({ height, url }: { height: Height; url: string }): Command {
  return {
    cmd: 'webview-group-open',
    params: { height: toHeight('openWebview', height), url: toUrl('openWebview', url) },
  };
}

/** Closes the web view of a group. */
export function closeWebview(): Command {
  return { cmd: 'webview-group-close' };
}

/**
 * Loads a page in the open web view of a group. Without a height the view stays as high as it is.
 *
 * @param options.url as in {@link openWebview}
 * @throws {InvalidCommandError} as {@link openWebview}
 */
export function refreshWebview({ height, url }: { height?: Height; url: string }): Command {
  const params = { url: toUrl('refreshWebview', url) };
  return {
    cmd: 'webview-group-refresh',
    params:
      height === undefined ? params : { height: toHeight('refreshWebview', height), ...params },
  };
}

/** Every command, and whether only groups have it. */
const NEEDS_GROUP: Readonly<Record<Command['cmd'], boolean>> = {
  'send-text': false,
  'webview-group-open': true,
  'webview-group-close': true,
  'webview-group-refresh': true,
};

/** Whether a value came from one of the builders. */
export const isCommand = (value: unknown): value is Command =>
  typeof value === 'object' &&
  value !== null &&
  'cmd' in value &&
  Object.keys(NEEDS_GROUP).some((cmd) => cmd === value.cmd);

/** The body of `POST /robotapi/v1/message/send`. */
export interface Message {
  readonly type: 'cmd';
  readonly session_open_id: string;
  readonly session_type: Session['session_type'];
  readonly to_type: Session['session_type'];
  readonly to: string;
  readonly content: { readonly cmd: Command['cmd']; readonly params?: string };
}

/** @throws {InvalidCommandError} for a web view outside of a group, where VVChat has none */
export function checkCommand({ cmd }: Command, { session_type }: Session): void {
  if (!NEEDS_GROUP[cmd] || session_type === GROUP) return;
  throw new InvalidCommandError(`${cmd}: only groups have a web view; answer with a text here.`);
}

/**
 * Puts a command into the form that the robot API takes, for the whole session: `params` is a string
 * that holds JSON, and in a one-to-one chat the session's id is the person's.
 */
export function toMessage(command: Command, { session_open_id, session_type }: Session): Message {
  const { cmd } = command;
  return {
    type: 'cmd',
    session_open_id,
    session_type,
    to_type: session_type,
    to: session_open_id,
    content: 'params' in command ? { cmd, params: JSON.stringify(command.params) } : { cmd },
  };
}

const GROUP: Session['session_type'] = '2';
const PERCENTAGE = /^(?:[1-9]\d?|100)%$/;

function toHeight(builder: string, height: Height): string {
  if (typeof height === 'number' && Number.isSafeInteger(height) && height > 0) return `${height}`;
  if (typeof height === 'string' && PERCENTAGE.test(height)) return height;
  throw new InvalidCommandError(
    `${builder}: the height is neither "1%" to "100%" nor a whole number of pixels above 0.`,
  );
}

/** In its normal form, so that VVChat's app opens the page that this check has read. */
function toUrl(builder: string, url: string): string {
  const fault = faultInUrl(url);
  if (fault !== undefined) throw new InvalidCommandError(`${builder}: the url ${fault}`);
  return new URL(url).href;
}

/** Parsers disagree on each of these. Source: url.spec.whatwg.org, which takes or drops them without an error. */
function faultInUrl(url: string): string | undefined {
  if (typeof url !== 'string' || !/^ *https?:\/\/[^/]/i.test(url) || !URL.canParse(url)) {
    return 'is not a whole http or https address.';
  }
  if (/\p{Cc}/u.test(url)) return 'has a control character, such as a tab or a line break.';
  if (url.includes('\\')) return 'has a backslash; write a slash, or %5C.';
  const { username, password } = new URL(url);
  return username === '' && password === '' ? undefined : 'has a user name or a password.';
}
