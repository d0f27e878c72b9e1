import { type IncomingHttpHeaders, type IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

/*
 * Any web page that is open in the developer's browser can send requests to servers on this machine, directly or by
 * DNS rebinding. Imported before anything listens, this module makes every HTTP server of the process refuse them:
 * a foreign Origin or a foreign Host. It replaces a method of Node's Server, because the servers of dynalite,
 * dynamodb-admin and serverless-offline offer no place for a check of ours.
 */

const LOOPBACK = new Set(['127.0.0.1', 'localhost', '[::1]']);

/** Whether a request is addressed to this machine and comes from no page but one of the server's own. */
export function isOwn({ host, origin, ...headers }: IncomingHttpHeaders): boolean {
  if (host === undefined || !URL.canParse(`http://${host}`)) return false;
  const url = new URL(`http://${host}`);
  const isNavigation = headers['sec-fetch-mode'] === 'navigate';
  return (
    LOOPBACK.has(url.hostname) &&
    (origin === undefined || origin === url.origin) &&
    (isNavigation || isOwnSite(headers['sec-fetch-site']))
  );
}

/** Browsers send this header, also for images and scripts, which have no Origin; other programs do not. */
const isOwnSite = (site: string | string[] | undefined): boolean =>
  site === undefined || site === 'same-origin' || site === 'none';

const emit = Server.prototype.emit;

Server.prototype.emit = function guarded(event: string | symbol, ...args: unknown[]): boolean {
  const isRequest = event === 'request' || event === 'upgrade' || event === 'checkContinue';
  if (!isRequest || isOwn((args[0] as IncomingMessage).headers)) {
    return Reflect.apply(emit, this, [event, ...args]);
  }
  refuse(args[1] as ServerResponse | Duplex);
  return true;
};

function refuse(answer: ServerResponse | Duplex): void {
  if (!(answer instanceof ServerResponse)) {
    // The client may be gone already.
    answer.on('error', () => {});
    answer.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n');
    return;
  }
  answer.writeHead(403, { 'Content-Type': 'text/plain' });
  answer.end(
    'Only this machine may call this server, and only under the name 127.0.0.1 or localhost.\n',
  );
}
