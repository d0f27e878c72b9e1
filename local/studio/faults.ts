import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler } from 'hono';
import { MIN_REJECTED_AGE_MS } from '../../lib/vvchat/token.ts';
import type { Fault } from './state.ts';

const RETRY_AFTER_SECONDS = 30;
const SLOW_MS = 3_000;

/** The lifetime of a token while tokens expire early: the functions don't replace a younger one. */
const SHORT_LIFE_MS = MIN_REJECTED_AGE_MS + 1_000;

/** Older tokens are not in use any more. */
const MAX_TOKENS = 1_000;

/** Makes the simulated VVChat fail on commands. Tokens are issued whatever the fault. */
export function injectFaults(current: () => Fault, now: () => number): MiddlewareHandler {
  /** When each token was issued. */
  const issued = new Map<string, number>();
  const handlers = faultHandlers((token) => now() - (issued.get(token) ?? 0));
  return async (c, next) => {
    if (!c.req.path.endsWith('/token')) return handlers[current()](c, next);
    await next();
    const { token } = (await c.res.clone().json()) as { token?: string };
    if (token !== undefined) issued.set(token, now());
    const [oldest] = issued.keys();
    if (oldest !== undefined && issued.size > MAX_TOKENS) issued.delete(oldest);
  };
}

const faultHandlers = (ageOf: (token: string) => number): Record<Fault, MiddlewareHandler> => ({
  none: (_, next) => next(),
  'server-error': async (c) => c.json({ err_code: 500, err_msg: 'internal error' }, 500),
  throttled: async (c) =>
    c.json({ err_code: 429, err_msg: 'too many requests' }, 429, {
      'Retry-After': `${RETRY_AFTER_SECONDS}`,
    }),
  slow: async (_, next) => {
    await sleep(SLOW_MS);
    await next();
  },
  'response-lost': async (c, next) => {
    await next();
    hangUp(c);
  },
  'tokens-expire': async (c, next) => {
    if (ageOf(c.req.query('token') ?? '') <= SHORT_LIFE_MS) return next();
    return c.json({ err_code: 400, err_msg: 'token wrong or expired' }, 400);
  },
});

/** Breaks the connection after the command was carried out. */
function hangUp({ env }: Context): void {
  (env as HttpBindings).incoming.socket.destroy();
}

/** Whether the connection was broken, so that the response does not arrive. */
export const isResponseLost = ({ env }: Context): boolean =>
  (env as Partial<HttpBindings>).incoming?.socket.destroyed === true;
