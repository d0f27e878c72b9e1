import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import { type Context, Hono, type MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { secureHeaders } from 'hono/secure-headers';
import * as v from 'valibot';
import type { Event } from '../../lib/vvchat/event.ts';
import type { Carried } from '../simulator/robot-api.ts';
import { streamChanges } from './changes.ts';
import { Chats, ImpossibleError } from './chats.ts';
import { weathered } from './faults.ts';
import { makeAllDue } from './make-due.ts';
import { watchMemberships } from './memberships.ts';
import { buildPage } from './page.ts';
import { WEATHERS } from './state.ts';
import { Store } from './store.ts';
import { Wire } from './traffic.ts';

export interface StudioOptions {
  readonly client: DynamoDBClient;
  readonly inboxTable: string;
  readonly membershipsTable: string;
  /** Where VVChat's events go. */
  readonly webhookUrl: string;
  /** Where one looks into the tables. */
  readonly adminUrl: string;
  /** Has the function `retry` run once; resolves to what it answers. */
  readonly retry: () => Promise<unknown>;
  readonly now?: () => number;
}

export interface Studio {
  /** The page, and what it calls. */
  readonly app: Hono;
  /** Goes before the robot API: takes down what is asked of it, and makes the weather. */
  readonly before: readonly MiddlewareHandler[];
  /** A robot had VVChat do something. */
  readonly carry: (carried: Carried) => void;
  readonly stop: () => void;
}

const MAX_BODY_BYTES = 1_048_576;

const name = v.pipe(v.string(), v.regex(/\S/), v.maxLength(256));
const place = { chat: name, person: name };

const ACTIONS = {
  create: v.strictObject({ name }),
  join: v.strictObject({ ...place, robot_no: name }),
  open: v.strictObject(place),
  say: v.strictObject({ ...place, text: v.string(), keepMentions: v.boolean() }),
  post: v.strictObject({ body: v.string() }),
  weather: v.strictObject({ weather: v.picklist(WEATHERS) }),
  retry: v.strictObject({}),
};

type ActionName = keyof typeof ACTIONS;
type Actions = {
  [Name in ActionName]: (input: v.InferOutput<(typeof ACTIONS)[Name]>) => Promise<object>;
};

/**
 * The studio: a page that plays VVChat. What a person does there posts the documented event to the webhook; what
 * a robot has VVChat do appears there. Its state is in memory, and the same for every open page.
 */
export function createStudio(options: StudioOptions): Studio {
  const { client, inboxTable, membershipsTable, retry, now = Date.now } = options;
  const store = new Store();
  store.set('weather', 'now', 'fine');
  const chats = new Chats(store, now);
  const wire = new Wire({ store, ...options });
  const postAll = async (events: readonly Event[]) => {
    await Promise.all(events.map((event) => wire.post(JSON.stringify(event))));
    return { events: events.length };
  };

  const actions: Actions = {
    create: async (it) => chats.create(it.name),
    join: ({ chat, robot_no, person }) => postAll(chats.join(chat, robot_no, person)),
    open: ({ chat, person }) => postAll(chats.open(chat, person)),
    say: ({ chat, person, text, keepMentions }) =>
      postAll(chats.say(chat, person, text, keepMentions)),
    post: async ({ body }) => {
      await wire.post(body);
      return {};
    },
    weather: async ({ weather }) => {
      store.set('weather', 'now', weather);
      return {};
    },
    retry: async () => {
      const due = await makeAllDue(client, inboxTable);
      return { due, summary: await retry() };
    },
  };

  let page: ReturnType<typeof buildPage> | undefined;
  const send = (type: string, what: 'html' | 'script' | 'style') => async (c: Context) => {
    page ??= buildPage();
    const text = (await page)[what];
    return c.body(text, 200, {
      'Content-Type': `${type}; charset=utf-8`,
      'Cache-Control': 'no-store',
    });
  };

  const app = new Hono();
  app.use('/', ...headers());
  app.use('/studio/*', ...headers());
  app.get('/', send('text/html', 'html'));
  app.get('/studio/main.js', send('text/javascript', 'script'));
  app.get('/studio/style.css', send('text/css', 'style'));
  app.get('/studio/changes', streamChanges(store, options.adminUrl));
  app.use('/studio/*', ownPagesOnly, bodyLimit({ maxSize: MAX_BODY_BYTES }));
  for (const [action, schema] of Object.entries(ACTIONS)) {
    app.post(`/studio/${action}`, async (c) => {
      const input = v.safeParse(schema, await c.req.json().catch(() => undefined));
      if (!input.success) {
        const [issue] = input.issues;
        return c.json({ error: `${v.getDotPath(issue) ?? 'body'}: ${issue.message}` }, 400);
      }
      try {
        const act = actions[action as ActionName] as (input: unknown) => Promise<object>;
        return c.json(await act(input.output));
      } catch (error) {
        if (error instanceof ImpossibleError) return c.json({ error: error.message }, 409);
        return c.json({ error: (error as Error).message }, 502);
      }
    });
  }

  const memberships = watchMemberships({
    client,
    table: membershipsTable,
    store,
    onRow: (row) => chats.meet(row),
  });

  return {
    app,
    before: [
      programsOnly,
      wire.witness,
      weathered(() => store.get('weather', 'now') ?? 'fine', now),
    ],
    carry: (carried) => chats.carry(carried),
    stop: () => {
      memberships.stop();
      wire.stop();
    },
  };
}

/** Nothing is loaded from elsewhere, but for the pages that robots open, in their frames. */
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
    // There is no https here.
    strictTransportSecurity: false,
  }),
];

/** The robot API is for programs: a page that is led here, or frames it, would be on the wire. */
const programsOnly: MiddlewareHandler = async (c, next) => {
  const site = c.req.header('Sec-Fetch-Site');
  if (site === undefined || site === 'none') return next();
  return c.json({ err_code: 403, err_msg: 'not for web pages' }, 403);
};

/** State changes only by JSON, and only from a page of the studio's own: a form or a framed page has no way. */
const ownPagesOnly: MiddlewareHandler = async (c, next) => {
  if (c.req.header('Origin') !== new URL(c.req.url).origin) {
    return c.json({ error: "only the studio's own page may do this" }, 403);
  }
  if (!/^application\/json(?:;|$)/.test(c.req.header('Content-Type') ?? '')) {
    return c.json({ error: 'the content type must be application/json' }, 415);
  }
  return next();
};
