import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import * as v from 'valibot';
import type { Event } from '../../lib/vvchat/event.ts';
import type { ReceivedCommand } from '../simulator/robot-api.ts';
import { streamChanges } from './changes.ts';
import { Chats } from './chats.ts';
import { ERROR_STATUSES, type ErrorBody, type ErrorCode, StudioError } from './errors.ts';
import { injectFaults } from './faults.ts';
import { makeAllDue } from './make-due.ts';
import { watchMemberships } from './memberships.ts';
import { TEXTS } from './page/texts.ts';
import { buildPage } from './page.ts';
import { FAULTS } from './state.ts';
import { Store } from './store.ts';
import { Traffic } from './traffic.ts';

export interface StudioOptions {
  readonly client: DynamoDBClient;
  readonly inboxTable: string;
  readonly membershipsTable: string;
  /** The URL that VVChat posts its events to. */
  readonly webhookUrl: string;
  /** The URL of dynamodb-admin. */
  readonly adminUrl: string;
  /** Runs the function `retry` once; resolves to its summary. */
  readonly retry: () => Promise<unknown>;
  readonly now?: () => number;
}

export interface Studio {
  /** Serves the page and the routes that it calls. */
  readonly app: Hono;
  /** Middleware for the robot API: records the calls, and makes them fail as the page asks. */
  readonly before: readonly MiddlewareHandler[];
  /** Shows a command that VVChat has received from a robot. */
  readonly applyCommand: (command: ReceivedCommand) => void;
  readonly stop: () => void;
}

const MAX_BODY_BYTES = 1_048_576;

const name = v.pipe(v.string(), v.regex(/\S/), v.maxLength(256));
const place = { chat: name, person: name };

const ACTIONS = {
  create: v.strictObject({ name }),
  join: v.strictObject({ ...place, robot_no: name }),
  open: v.strictObject(place),
  send: v.strictObject({ ...place, text: v.string(), keepMentions: v.boolean() }),
  post: v.strictObject({ body: v.string() }),
  faults: v.strictObject({ fault: v.picklist(FAULTS) }),
  retry: v.strictObject({}),
};

type ActionName = keyof typeof ACTIONS;
type Actions = {
  [Name in ActionName]: (input: v.InferOutput<(typeof ACTIONS)[Name]>) => Promise<object>;
};

/**
 * The studio: a page that simulates VVChat. The actions of a person post the documented events to the webhook, and
 * the commands of a robot appear in the chat. All open pages share one state, which is in memory.
 */
export function createStudio(options: StudioOptions): Studio {
  const { client, inboxTable, membershipsTable, now = Date.now } = options;
  const store = new Store();
  store.set('faults', 'now', 'none');
  const chats = new Chats(store, now);
  const traffic = new Traffic({ store, ...options });
  const postAll = async (events: readonly Event[]) => {
    await Promise.all(events.map((event) => traffic.post(JSON.stringify(event))));
    return { events: events.length };
  };

  const actions: Actions = {
    create: async (it) => chats.create(it.name),
    join: ({ chat, robot_no, person }) => postAll(chats.join(chat, robot_no, person)),
    open: ({ chat, person }) => postAll(chats.open(chat, person)),
    send: ({ chat, person, text, keepMentions }) =>
      postAll(chats.send(chat, person, text, { keepMentions })),
    post: async ({ body }) => {
      await traffic.post(body);
      return {};
    },
    faults: async ({ fault }) => {
      store.set('faults', 'now', fault);
      return {};
    },
    retry: async () => {
      const due = await makeAllDue({ client, name: inboxTable, now: Date.now });
      const summary = await options.retry().catch((error) => {
        throw new StudioError('retry-failed', error.message);
      });
      return { due, summary };
    },
  };

  let page: ReturnType<typeof buildPage> | undefined;
  const serve = (type: string, part: 'html' | 'script' | 'style') => async (c: Context) => {
    page ??= buildPage();
    return c.body((await page)[part], 200, {
      'Content-Type': `${type}; charset=utf-8`,
      'Cache-Control': 'no-store',
    });
  };

  const app = new Hono();
  app.use('/', ...headers());
  app.use('/studio/*', ...headers());
  app.get('/', serve('text/html', 'html'));
  app.get('/studio/main.js', serve('text/javascript', 'script'));
  app.get('/studio/style.css', serve('text/css', 'style'));
  app.get('/studio/changes', streamChanges(store, options.adminUrl));
  app.use(
    '/studio/*',
    ownPagesOnly,
    bodyLimit({ maxSize: MAX_BODY_BYTES, onError: (c) => fail(c, 'input-too-large') }),
  );
  app.onError((error, c) =>
    error instanceof StudioError
      ? fail(c, error.code, error.detail)
      : fail(c, 'unexpected', error.message),
  );
  for (const [action, schema] of Object.entries(ACTIONS)) {
    app.post(`/studio/${action}`, async (c) => {
      const input = v.safeParse(schema, await c.req.json().catch(() => undefined));
      if (!input.success) return fail(c, 'invalid-input', faultIn(input.issues));
      const act = actions[action as ActionName] as (input: unknown) => Promise<object>;
      return c.json(await act(input.output));
    });
  }

  const memberships = watchMemberships({
    client,
    table: membershipsTable,
    store,
    onRow: (row) => chats.addMembership(row),
  });

  return {
    app,
    before: [
      programsOnly,
      traffic.recordExchange,
      injectFaults(() => store.get('faults', 'now') ?? 'none', now),
    ],
    applyCommand: (command) => chats.applyCommand(command),
    stop: () => {
      memberships.stop();
      traffic.stop();
    },
  };
}

/** The response for an action that is refused or fails. */
function fail(c: Context, code: ErrorCode, detail?: string) {
  const body: ErrorBody = {
    code,
    error: TEXTS.en.errors[code],
    ...(detail !== undefined && { detail }),
  };
  return c.json(body, ERROR_STATUSES[code]);
}

const faultIn = ([issue]: [v.BaseIssue<unknown>, ...v.BaseIssue<unknown>[]]): string =>
  `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`;

/** Only the pages that robots open, in their frames, are loaded from elsewhere. */
const headers = () => [
  secureHeaders({
    contentSecurityPolicy: {
      defaultSrc: ["'none'"],
      scriptSrc: ["'self'"],
      styleSrc: ["'self'"],
      imgSrc: ["'self'", 'data:'],
      connectSrc: ["'self'"],
      frameSrc: ['http:', 'https:'],
      baseUri: ["'none'"],
      formAction: ["'none'"],
      frameAncestors: ["'none'"],
    },
    referrerPolicy: 'no-referrer',
    xFrameOptions: 'DENY',
    // The studio is served without https.
    strictTransportSecurity: false,
  }),
];

/** The robot API is for programs: requests of web pages would show up as traffic. */
const programsOnly: MiddlewareHandler = async (c, next) => {
  const site = c.req.header('Sec-Fetch-Site');
  if (site === undefined || site === 'none') return next();
  return c.json({ err_code: 403, err_msg: 'not for web pages' }, 403);
};

/** Only JSON from the studio's own page changes its state: no form and no framed page can. */
const ownPagesOnly: MiddlewareHandler = async (c, next) => {
  if (c.req.header('Origin') !== new URL(c.req.url).origin) {
    return fail(c, 'foreign-page');
  }
  if (!/^application\/json(?:;|$)/.test(c.req.header('Content-Type') ?? '')) {
    return fail(c, 'not-json');
  }
  return next();
};
