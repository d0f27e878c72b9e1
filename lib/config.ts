import * as v from 'valibot';
import { SafeError } from './safe-error.ts';
import { EVENT_NAMES, type EventName, isEventName } from './vvchat/event.ts';

/** Missing or invalid environment variables. The message names them, and never repeats a value. */
export class ConfigError extends SafeError {
  override readonly name = 'ConfigError';
}

export type WebhookConfig = v.InferOutput<typeof Webhook>;
export type DeliveryConfig = v.InferOutput<typeof Delivery>;

type Environment = Readonly<Record<string, string | undefined>>;

/** @throws {ConfigError} */
export const readWebhookConfig = (env: Environment): WebhookConfig => parse(Webhook, env);

/** @throws {ConfigError} */
export const readDeliveryConfig = (env: Environment): DeliveryConfig => parse(Delivery, env);

/** The platform's test host has no https. Source: robot protocol v1, "Robot API". */
export const TEST_HOST = 'http://dev.vvchat.im';

const listed = (text: string) =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

const table = v.pipe(
  v.string(),
  v.regex(/^[\w.-]{3,255}$/, 'must be the name of a DynamoDB table'),
);

const wholeNumber = (min: number, max: number) => {
  const range = `must be a whole number from ${min} to ${max}`;
  return v.pipe(
    v.string(),
    v.regex(/^\d{1,9}$/, range),
    v.transform(Number),
    v.minValue(min, range),
    v.maxValue(max, range),
  );
};

const Webhook = v.object({
  MEMBERSHIPS_TABLE: table,
  INBOX_TABLE: table,
  WEBHOOK_TOKEN_SHA256: v.pipe(
    v.string(),
    v.transform(listed),
    v.check(
      (hashes) =>
        (hashes.length === 1 || hashes.length === 2) &&
        hashes.every((hash) => /^[\da-f]{64}$/i.test(hash)),
      'must be one or two SHA-256 hashes of 64 hex digits, separated by a comma',
    ),
    v.transform((hashes) => hashes.map((hash) => Buffer.from(hash, 'hex'))),
  ),
  /** Without any, every app is rejected. */
  VVCHAT_APP_IDS: v.pipe(
    v.optional(v.string(), ''),
    v.transform((text) => new Set(listed(text))),
  ),
  /** The events that the robot answers, or `none`. plugins/robot.ts writes them when the functions are packaged. */
  ROUTED_EVENTS: v.pipe(
    v.string(),
    v.transform((text) => listed(text === 'none' ? '' : text)),
    v.check(
      (names) => names.every(isEventName),
      `must list events that VVChat documents: ${EVENT_NAMES.join(', ')}`,
    ),
    v.transform((names) => new Set(names as EventName[])),
  ),
  /** Seconds within which an equal event is a duplicate; 0: it never is. */
  DEDUPE_WINDOW_SECONDS: wholeNumber(0, 3600),
});

const isSafeAddress = (text: string) => {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (
    url.username === '' &&
    url.password === '' &&
    url.search === '' &&
    url.hash === '' &&
    (url.protocol === 'https:' ||
      url.origin === TEST_HOST ||
      (url.protocol === 'http:' && /^(?:127\.0\.0\.1|localhost|\[::1\])$/.test(url.hostname)))
  );
};

const appKeys = v.pipe(
  v.string(),
  v.transform((text) => listed(text).map((entry) => entry.split(/=(.*)/s, 2) as [string, string?])),
  v.check(
    (pairs) => pairs.every(([app, key]) => app !== '' && key),
    'must be a list such as app=key,app=key',
  ),
  v.transform((pairs) => new Map(pairs as [string, string][])),
);

const Delivery = v.pipe(
  v.object({
    INBOX_TABLE: table,
    TOKENS_TABLE: table,
    MUTES_TABLE: table,
    VVCHAT_API_URL: v.pipe(
      v.string(),
      v.check(
        isSafeAddress,
        `must be an https address without user, query or fragment (http only on loopback and for ${TEST_HOST})`,
      ),
      v.transform((text) => {
        const { origin, pathname } = new URL(text);
        return `${origin}${pathname}`.replace(/\/+$/, '');
      }),
    ),
    APP_KEYS_PREFIX: v.optional(
      v.pipe(
        v.string(),
        v.regex(
          /^\/[\w./-]+\/$/,
          'must be a path of SSM parameters such as /service/stage/app-keys/',
        ),
      ),
    ),
    APP_KEYS: v.optional(appKeys),
    /** Whether the messages of the robot's own errors are logged. lib/delivery/robot-error.ts reads it. */
    LOG_ROBOT_ERRORS: v.optional(v.picklist(['true', 'false'], 'must be true or false'), 'true'),
    /** Days for which a settled row is kept. */
    INBOX_RETENTION_DAYS: wholeNumber(1, 3650),
    /** Seconds that the robot may take for an answer: at most ROBOT_MS of lib/delivery/budgets.ts. */
    ROBOT_TIMEOUT_SECONDS: wholeNumber(1, 60),
  }),
  v.forward(
    v.check(
      ({ APP_KEYS, APP_KEYS_PREFIX }) =>
        (APP_KEYS === undefined) !== (APP_KEYS_PREFIX === undefined),
      'must be set, or else APP_KEYS, and not both',
    ),
    ['APP_KEYS_PREFIX'],
  ),
);

/** An empty variable counts as missing. */
function parse<const T extends v.GenericSchema>(schema: T, env: Environment): v.InferOutput<T> {
  const set = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const result = v.safeParse(schema, set, { abortPipeEarly: true });
  if (result.success) return result.output;
  const faults = result.issues.map((issue) => {
    const name = v.getDotPath(issue);
    return set[name ?? ''] === undefined && issue.kind === 'schema'
      ? `${name} is missing`
      : `${name} ${issue.message}`;
  });
  throw new ConfigError(`${faults.join('; ')}.`);
}
