import { createCipheriv, createHash, createHmac, randomBytes } from 'node:crypto';
import type { APIGatewayProxyEventV2 } from 'aws-lambda';
import { sample, saying } from '../../test/fixtures.ts';

/** What is compared: our webhook, and the handlers of this folder by the names of their files. */
export const PEERS = [
  'ours',
  'bare',
  'write',
  'writes',
  'sdk',
  'aws-lite',
  'bolt',
  'lark',
  'grammy',
] as const;

export type Peer = (typeof PEERS)[number];

const sha256 = (text: string) => createHash('sha256').update(text);

const TOKEN = 'bench';
const SLACK_SIGNING_SECRET = 'bench-slack-signing-secret';
const LARK_ENCRYPT_KEY = 'bench-lark-encrypt-key';
const LARK_VERIFICATION_TOKEN = 'bench-lark-verification-token';
const TELEGRAM_SECRET = 'bench-telegram-secret';

/** What the handlers read, apart from what AWS's own libraries do. Every secret is made up. */
export const ENVIRONMENT = {
  MEMBERSHIPS_TABLE: 'bench-memberships',
  INBOX_TABLE: 'bench-inbox',
  WEBHOOK_TOKEN_SHA256: sha256(TOKEN).digest('hex'),
  VVCHAT_APP_IDS: 'test',
  ROUTED_EVENTS: 'at,join-group-for-invite',
  DEDUPE_WINDOW_SECONDS: '5',
  SLACK_SIGNING_SECRET,
  LARK_ENCRYPT_KEY,
  LARK_VERIFICATION_TOKEN,
  TELEGRAM_SECRET,
  TELEGRAM_TOKEN: '4839574812:bench',
};

/** A message of a text of its own, as API Gateway hands it over and the peer's platform signs it, now. */
export function requestFor(peer: Peer, i: number): APIGatewayProxyEventV2 {
  const text = `message ${i}`;
  if (peer === 'bolt') return fromSlack(text);
  if (peer === 'lark') return fromLark(text);
  if (peer === 'grammy') return fromTelegram(text, i);
  return posted(JSON.stringify(saying(text)), {}, { token: TOKEN });
}

const { queryStringParameters: _, ...ENVELOPE }: APIGatewayProxyEventV2 = sample('at');

function posted(
  body: string,
  headers: Readonly<Record<string, string>>,
  query?: Readonly<Record<string, string>>,
): APIGatewayProxyEventV2 {
  return {
    ...ENVELOPE,
    rawQueryString: new URLSearchParams(query).toString(),
    ...(query && { queryStringParameters: { ...query } }),
    headers: { ...ENVELOPE.headers, 'content-length': `${Buffer.byteLength(body)}`, ...headers },
    body,
  };
}

const seconds = () => `${Math.floor(Date.now() / 1_000)}`;

/** Sources: Slack, "Verifying requests from Slack", "Events API". */
function fromSlack(text: string) {
  const timestamp = seconds();
  const event = {
    type: 'app_mention',
    user: 'U061F7AUR',
    text: `<@U0LAN0Z89> ${text}`,
    ts: `${timestamp}.000016`,
    channel: 'C0LAN2Q65',
    event_ts: `${timestamp}.000016`,
  };
  const authorization = { enterprise_id: null, team_id: 'T061EG9R6', user_id: 'U0LAN0Z89' };
  const body = JSON.stringify({
    token: 'bench',
    team_id: 'T061EG9R6',
    api_app_id: 'A0MDYCDME',
    event,
    type: 'event_callback',
    event_id: 'Ev0MDYHUEL',
    event_time: Number(timestamp),
    authorizations: [{ ...authorization, is_bot: true, is_enterprise_install: false }],
  });
  const signature = createHmac('sha256', SLACK_SIGNING_SECRET)
    .update(`v0:${timestamp}:${body}`)
    .digest('hex');
  return posted(body, {
    'x-slack-request-timestamp': timestamp,
    'x-slack-signature': `v0=${signature}`,
  });
}

/** Source: Feishu Open Platform, "Configure Encrypt Key", "Receive message". */
function fromLark(text: string) {
  const timestamp = seconds();
  const header = {
    event_id: randomBytes(16).toString('hex'),
    event_type: 'im.message.receive_v1',
    create_time: `${Date.now()}`,
    token: LARK_VERIFICATION_TOKEN,
    app_id: 'cli_9f5343c580712544',
    tenant_key: '2ca1d211f64f6438',
  };
  const sender = {
    sender_id: { open_id: 'ou_84aad35d084aa403a838cf73ee18467' },
    sender_type: 'user',
    tenant_key: header.tenant_key,
  };
  const message = {
    message_id: 'om_5ce6d572455d361153b7cb51da133945',
    create_time: header.create_time,
    chat_id: 'oc_5ce6d572455d361153b7xx51da133945',
    chat_type: 'group',
    message_type: 'text',
    content: JSON.stringify({ text }),
  };
  const iv = randomBytes(16);
  const cipher = createCipheriv('aes-256-cbc', sha256(LARK_ENCRYPT_KEY).digest(), iv);
  const event = JSON.stringify({ schema: '2.0', header, event: { sender, message } });
  const encrypt = Buffer.concat([iv, cipher.update(event), cipher.final()]).toString('base64');
  const body = JSON.stringify({ encrypt });
  const nonce = randomBytes(8).toString('hex');
  return posted(body, {
    'x-lark-request-timestamp': timestamp,
    'x-lark-request-nonce': nonce,
    'x-lark-signature': sha256(timestamp + nonce + LARK_ENCRYPT_KEY + body).digest('hex'),
  });
}

/** Source: Telegram Bot API, "Update", "setWebhook". */
function fromTelegram(text: string, i: number) {
  const person = { id: 1111117, first_name: 'Bench', username: 'bench' };
  const message = {
    message_id: i + 1,
    from: { ...person, is_bot: false, language_code: 'en' },
    chat: { ...person, type: 'private' },
    date: Number(seconds()),
    text,
  };
  const body = JSON.stringify({ update_id: 10_000 + i, message });
  return posted(body, { 'x-telegram-bot-api-secret-token': TELEGRAM_SECRET });
}
