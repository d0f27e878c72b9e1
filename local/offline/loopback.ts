import { type IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/*
 * Any web page that is open in the developer's browser can send requests to servers on this machine, directly or by
 * DNS rebinding, navigate to them, and frame them. Imported before anything listens, this module makes every HTTP
 * server of the process refuse all of these, and forbid that its answers are framed. It replaces a method of Node's
 * Server, because the servers of dynalite, dynamodb-admin and serverless-offline offer no place for a check of ours.
 */

/** What a server answers although another origin's page leads there. */
export interface Admission {
  /** Paths that any website may link to. They must have no effect, and run nothing of the query. */
  readonly linkable?: readonly string[];
  /** The port of a local server whose pages may link to all paths. */
  readonly linkedFromPort?: number;
  /** The Content-Security-Policy of its answers, besides that nothing may frame them. */
  readonly contentSecurityPolicy?: string;
}

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

const admissions = new WeakMap<object, Admission>();

/** Has a server answer to more than its own pages and programs. */
export const admit = (server: Server, admission: Admission): void => {
  admissions.set(server, admission);
};

type Request = Pick<IncomingMessage, 'headers' | 'method' | 'url'>;

/** Whether a request is addressed to this machine, and comes from a program, from its user, or from an admitted page. */
export function isAllowed(request: Request, admission: Admission = {}): boolean {
  const { host, origin, referer } = request.headers;
  if (host === undefined || !URL.canParse(`http://${host}`)) return false;
  const url = new URL(`http://${host}`);
  if (!LOOPBACK.has(url.hostname) || (origin !== undefined && origin !== url.origin)) return false;
  const site = request.headers['sec-fetch-site'];
  const isForeign =
    site === undefined
      ? isFromElsewhere(request, url.origin)
      : !/^(?:same-origin|none)$/.test(`${site}`);
  if (isFramed(request)) return false;
  return !isForeign || (isLink(request) && isLinkable(request, admission, referer));
}

/**
 * Whether a client without Fetch Metadata, which is a program or an old browser, names another page. A browser's
 * first navigation may name none, and is then refused too: it cannot be told from a link of a page that names none.
 */
function isFromElsewhere({ headers: { referer, accept } }: Request, own: string): boolean {
  if (referer !== undefined) return originOf(referer) !== own;
  return /^text\/html\b/.test(accept ?? '');
}

const isFramed = ({ headers }: Request): boolean =>
  /^(?:iframe|frame|embed|object|fencedframe)$/.test(`${headers['sec-fetch-dest']}`);

/** A browser without Fetch Metadata has no better sign of a navigation than what it accepts. */
const isLink = ({ method, headers }: Request): boolean =>
  method === 'GET' &&
  (headers['sec-fetch-site'] === undefined
    ? /^text\/html\b/.test(headers.accept ?? '')
    : headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document');

function isLinkable({ url = '' }: Request, admission: Admission, referer = ''): boolean {
  const { linkable = [], linkedFromPort } = admission;
  const [path = ''] = url.split('?');
  if (linkable.includes(path)) return true;
  const from = originOf(referer);
  return (
    linkedFromPort !== undefined &&
    [...LOOPBACK].some((name) => from === `http://${name}:${linkedFromPort}`)
  );
}

const originOf = (url: string): string | undefined =>
  URL.canParse(url) ? new URL(url).origin : undefined;

const REQUESTS = new Set<string | symbol>([
  ...['request', 'upgrade', 'connect', 'checkContinue', 'checkExpectation'],
]);

const emit = Server.prototype.emit;

Server.prototype.emit = function guarded(event: string | symbol, ...args: unknown[]): boolean {
  if (!REQUESTS.has(event)) return Reflect.apply(emit, this, [event, ...args]);
  const [request, answer] = args as [IncomingMessage, ServerResponse | Duplex];
  const admission = admissions.get(this);
  if (answer instanceof ServerResponse) forbidFrames(answer, admission);
  if (isAllowed(request, admission)) return Reflect.apply(emit, this, [event, ...args]);
  refuse(answer);
  return true;
};

/** A server that sets these headers itself replaces them. */
function forbidFrames(
  answer: ServerResponse,
  { contentSecurityPolicy: policy = '' }: Admission = {},
): void {
  answer.setHeader('X-Frame-Options', 'DENY');
  answer.setHeader('Content-Security-Policy', `frame-ancestors 'none'${policy && `; ${policy}`}`);
}

function refuse(answer: ServerResponse | Duplex): void {
  if (!(answer instanceof ServerResponse)) {
    // The client may be gone already.
    answer.on('error', () => {});
    answer.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    return;
  }
  answer.writeHead(403, { 'Content-Type': 'text/plain' });
  answer.end(
    'Only programs and pages of this machine may call this server, and only under the name 127.0.0.1 or localhost. Type its address, or follow the link of the studio.\n',
  );
}
