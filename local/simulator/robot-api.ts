import { randomBytes } from 'node:crypto';
import { type Context, Hono } from 'hono';
import * as v from 'valibot';
import type { Command } from '../../lib/vvchat/command.ts';

/** A valid command of a robot, as VVChat received it. */
export interface ReceivedCommand {
  readonly robot_no: string;
  readonly app_id: string;
  readonly message: Message;
  /** `message.content.params`, parsed. */
  readonly params: Readonly<Record<string, string | undefined>>;
}

export interface SimulatorOptions {
  /** App ids and their keys. */
  readonly apps: ReadonlyMap<string, string>;
  readonly onCommand: (command: ReceivedCommand) => void;
  /** The lifetime of a token. */
  readonly tokenSeconds?: number;
  readonly now?: () => number;
}

/**
 * VVChat's side of the robot API, as far as it is documented.
 * Source: robot protocol v1, "Robot API".
 */
export function createRobotApiSimulator({
  apps,
  onCommand,
  tokenSeconds = 7_200,
  now = Date.now,
}: SimulatorOptions): Hono {
  const tokens = new Map<string, { app_id: string; expiresAt: number }>();
  return new Hono()
    .get('/robotapi/v1/token', (c) => {
      const { app_id = '', app_key } = c.req.query();
      if (!app_key || apps.get(app_id) !== app_key) return refuse(c, 'wrong app_id or app_key');
      const token = randomBytes(16).toString('hex');
      tokens.set(token, { app_id, expiresAt: now() + tokenSeconds * 1_000 });
      return c.json({ token, expire_in: tokenSeconds });
    })
    .post('/robotapi/v1/message/send', async (c) => {
      const { robot_no, token = '' } = c.req.query();
      const holder = tokens.get(token);
      if (!holder || holder.expiresAt <= now()) return refuse(c, 'token wrong or expired');
      if (!robot_no) return refuse(c, 'robot_no is missing');
      if (!c.req.header('Content-Type')?.startsWith('application/json')) {
        return refuse(c, 'the content type must be application/json');
      }
      const body = v.safeParse(SentMessage, await c.req.json().catch(() => undefined));
      if (!body.success) {
        const [issue] = body.issues;
        return refuse(c, `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`);
      }
      const { params, ...message } = body.output;
      onCommand({ robot_no, app_id: holder.app_id, message, params });
      return c.json({});
    })
    .notFound((c) => c.json({ err_code: 404, err_msg: 'no such endpoint' }, 404));
}

/** The command that a robot sent, as lib/vvchat/command.ts makes it. */
export const commandOf = ({ message: { content }, params }: ReceivedCommand): Command =>
  // PARAMS has a schema for each command, and the params have passed it.
  ({ cmd: content.cmd, params }) as Command;

const refuse = (c: Context, err_msg: string) => c.json({ err_code: 400, err_msg }, 400);

const text = v.pipe(v.string(), v.nonEmpty());
const kind = v.picklist(['1', '2']);
const url = v.pipe(
  v.string(),
  v.check(
    (it) => it === '' || /^https?:\/\//.test(it),
    'must be an http or https address, or empty',
  ),
);
const height = v.pipe(v.string(), v.regex(/^(?:(?:[1-9]\d?|100)%|[1-9]\d*)$/));

type ParamsOf<C extends Command> = C extends { readonly params: infer Params }
  ? Params
  : Readonly<Record<string, never>>;

/** VVChat's own check of the params. A command of lib/vvchat/command.ts that is missing here does not compile. */
const PARAMS: {
  readonly [C in Command as C['cmd']]: v.GenericSchema<unknown, ParamsOf<C>>;
} = {
  'send-text': v.strictObject({ text }),
  'webview-group-open': v.strictObject({ height, url }),
  'webview-group-close': v.strictObject({}),
  'webview-group-refresh': v.strictObject({ height: v.exactOptional(height), url }),
};

const Message = v.strictObject({
  type: v.literal('cmd'),
  session_open_id: text,
  session_type: kind,
  to_type: kind,
  to: text,
  content: v.strictObject({
    cmd: v.picklist(Object.keys(PARAMS) as Command['cmd'][]),
    params: v.optional(v.string('must be a string of JSON')),
  }),
});

type Message = v.InferOutput<typeof Message>;

const SentMessage = v.pipe(
  Message,
  v.check(
    ({ content, session_type }) => content.cmd === 'send-text' || session_type === '2',
    'only groups have a web view',
  ),
  v.rawTransform(({ dataset: { value }, addIssue, NEVER }) => {
    const schema: v.GenericSchema<unknown, ReceivedCommand['params']> = PARAMS[value.content.cmd];
    const params = v.safeParse(schema, parseJson(value.content.params ?? '{}'));
    if (params.success) return { ...value, params: params.output };
    const [issue] = params.issues;
    addIssue({ message: `content.params: ${v.getDotPath(issue) ?? ''} ${issue.message}` });
    return NEVER;
  }),
);

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
