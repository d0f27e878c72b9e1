import { setTimeout as sleep } from 'node:timers/promises';
import type { HttpBindings } from '@hono/node-server';
import type { Context, MiddlewareHandler } from 'hono';
import type { Weather } from './state.ts';

const RETRY_AFTER_SECONDS = 30;
const SLOW_MS = 3_000;

/**
 * For how long a token is good when tokens expire before their time. A refused token that is younger than a
 * minute is not taken for the reason of the refusal.
 */
const SHORT_LIFE_MS = 61_000;

/** Nobody uses older ones. */
const MAX_TOKENS = 1_000;

/** Has the simulated VVChat take commands as the weather is. Tokens are given in any weather. */
export function weathered(weather: () => Weather, now: () => number): MiddlewareHandler {
  const issued = new Map<string, number>();
  return async (c, next) => {
    if (c.req.path.endsWith('/token')) {
      await next();
      const { token } = (await c.res.clone().json()) as { token?: string };
      if (token !== undefined) issued.set(token, now());
      const [oldest] = issued.keys();
      if (oldest !== undefined && issued.size > MAX_TOKENS) issued.delete(oldest);
      return undefined;
    }
    switch (weather()) {
      case 'error':
        return c.json({ err_code: 500, err_msg: 'internal error' }, 500);
      case 'throttled':
        return c.json({ err_code: 429, err_msg: 'too many requests' }, 429, {
          'Retry-After': `${RETRY_AFTER_SECONDS}`,
        });
      case 'expired':
        if (now() - (issued.get(c.req.query('token') ?? '') ?? 0) > SHORT_LIFE_MS) {
          return c.json({ err_code: 400, err_msg: 'token wrong or expired' }, 400);
        }
        return next();
      case 'slow':
        await sleep(SLOW_MS);
        return next();
      case 'lost':
        await next();
        return hangUp(c);
      default:
        return next();
    }
  };
}

/** What was asked for is done, and nobody is told. */
function hangUp({ env }: Context): void {
  (env as HttpBindings).incoming.socket.destroy();
}

/** Whether the answer to a request does not arrive. */
export const isLost = ({ env }: Context): boolean =>
  (env as Partial<HttpBindings>).incoming?.socket.destroyed === true;
