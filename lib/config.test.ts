import { describe, expect, test } from 'vitest';
import { ConfigError, readDeliveryConfig, readWebhookConfig } from './config.ts';
import { EVENT_NAMES } from './vvchat/event.ts';

type Case = [changes: Record<string, string | undefined>, message: string];

const hash = '25bf8e1a2393f1108d37029b3df5593236c755742ec93465bbafa9b290bddcf6';
const webhook = {
  MEMBERSHIPS_TABLE: 'vvchat-robot-dev-memberships',
  INBOX_TABLE: 'vvchat-robot-dev-inbox',
  WEBHOOK_TOKEN_SHA256: hash,
  ROUTED_EVENTS: 'at,join-group-for-invite',
  DEDUPE_WINDOW_SECONDS: '5',
};
const delivery = {
  INBOX_TABLE: 'vvchat-robot-dev-inbox',
  TOKENS_TABLE: 'vvchat-robot-dev-tokens',
  MUTES_TABLE: 'vvchat-robot-dev-mutes',
  VVCHAT_API_URL: 'https://vvchat.example/base/',
  APP_KEYS_PREFIX: '/vvchat-robot/dev/app-keys/',
  INBOX_RETENTION_DAYS: '30',
  ROBOT_TIMEOUT_SECONDS: '60',
};

describe('readWebhookConfig', () => {
  test('reads the settings, and without apps accepts none', () => {
    expect(readWebhookConfig(webhook)).toEqual({
      MEMBERSHIPS_TABLE: 'vvchat-robot-dev-memberships',
      INBOX_TABLE: 'vvchat-robot-dev-inbox',
      WEBHOOK_TOKEN_SHA256: [Buffer.from(hash, 'hex')],
      VVCHAT_APP_IDS: new Set(),
      ROUTED_EVENTS: new Set(['at', 'join-group-for-invite']),
      DEDUPE_WINDOW_SECONDS: 5,
    });
  });

  test('reads lists and numbers', () => {
    expect(
      readWebhookConfig({
        ...webhook,
        WEBHOOK_TOKEN_SHA256: `${hash}, ${hash.toUpperCase()}`,
        VVCHAT_APP_IDS: 'test, qiyunxin,',
        ROUTED_EVENTS: 'session-open',
        DEDUPE_WINDOW_SECONDS: '0',
      }),
    ).toMatchObject({
      WEBHOOK_TOKEN_SHA256: [Buffer.from(hash, 'hex'), Buffer.from(hash, 'hex')],
      VVCHAT_APP_IDS: new Set(['test', 'qiyunxin']),
      ROUTED_EVENTS: new Set(['session-open']),
      DEDUPE_WINDOW_SECONDS: 0,
    });
  });

  test('reads no routed event from `none`', () => {
    const { ROUTED_EVENTS } = readWebhookConfig({ ...webhook, ROUTED_EVENTS: 'none' });
    expect(ROUTED_EVENTS).toEqual(new Set());
  });

  test.each<Case>([
    [
      { INBOX_TABLE: undefined, WEBHOOK_TOKEN_SHA256: '' },
      'INBOX_TABLE is missing; WEBHOOK_TOKEN_SHA256 is missing.',
    ],
    [{ INBOX_TABLE: 'no table' }, 'INBOX_TABLE must be the name of a DynamoDB table.'],
    ...['secret', `${hash},secret`, `${hash},${hash},${hash}`, ','].map(
      (WEBHOOK_TOKEN_SHA256): Case => [
        { WEBHOOK_TOKEN_SHA256 },
        'WEBHOOK_TOKEN_SHA256 must be one or two SHA-256 hashes of 64 hex digits, separated by a comma.',
      ],
    ),
    [{ ROUTED_EVENTS: undefined }, 'ROUTED_EVENTS is missing.'],
    [
      { ROUTED_EVENTS: 'at,secret' },
      `ROUTED_EVENTS must list events that VVChat documents: ${EVENT_NAMES.join(', ')}.`,
    ],
    ...['-1', '3601', '1.5', 'secret'].map(
      (DEDUPE_WINDOW_SECONDS): Case => [
        { DEDUPE_WINDOW_SECONDS },
        'DEDUPE_WINDOW_SECONDS must be a whole number from 0 to 3600.',
      ],
    ),
  ])('rejects %j', (changes, message) => {
    expect(() => readWebhookConfig({ ...webhook, ...changes })).toThrow(new ConfigError(message));
  });
});

describe('readDeliveryConfig', () => {
  test('reads the settings', () => {
    expect(readDeliveryConfig(delivery)).toEqual({
      INBOX_TABLE: 'vvchat-robot-dev-inbox',
      TOKENS_TABLE: 'vvchat-robot-dev-tokens',
      MUTES_TABLE: 'vvchat-robot-dev-mutes',
      VVCHAT_API_URL: 'https://vvchat.example/base',
      APP_KEYS_PREFIX: '/vvchat-robot/dev/app-keys/',
      INBOX_RETENTION_DAYS: 30,
      ROBOT_TIMEOUT_SECONDS: 60,
      LOG_ROBOT_ERRORS: 'true',
    });
  });

  test('withholds the messages of errors only if it is set to, in so many words', () => {
    expect(readDeliveryConfig({ ...delivery, LOG_ROBOT_ERRORS: 'false' })).toMatchObject({
      LOG_ROBOT_ERRORS: 'false',
    });
    expect(() => readDeliveryConfig({ ...delivery, LOG_ROBOT_ERRORS: 'no' })).toThrow(
      new ConfigError('LOG_ROBOT_ERRORS must be true or false.'),
    );
  });

  test('accepts the keys themselves, with any character but a comma', () => {
    const { APP_KEYS_PREFIX: _, ...rest } = delivery;
    expect(readDeliveryConfig({ ...rest, APP_KEYS: 'test=12=34, qiyunxin=6' })).toMatchObject({
      APP_KEYS: new Map([
        ['test', '12=34'],
        ['qiyunxin', '6'],
      ]),
    });
  });

  test.each([
    'http://dev.vvchat.im',
    'http://127.0.0.1:4000',
    'http://localhost:4000',
    'http://[::1]:4000',
    'https://vvchat.example',
  ])('accepts the address %s', (VVCHAT_API_URL) => {
    expect(readDeliveryConfig({ ...delivery, VVCHAT_API_URL })).toMatchObject({ VVCHAT_API_URL });
  });

  test('trims an address', () => {
    const VVCHAT_API_URL = ' https://vvchat.example? ';
    expect(readDeliveryConfig({ ...delivery, VVCHAT_API_URL })).toMatchObject({
      VVCHAT_API_URL: 'https://vvchat.example',
    });
  });

  test.each([
    'vvchat.example',
    'http://vvchat.example',
    'http://127.0.0.1.vvchat.example',
    'http://dev.vvchat.im:8080',
    'ftp://127.0.0.1',
    'https://user:secret@vvchat.example',
    'https://:secret@vvchat.example',
    'https://vvchat.example?key=secret',
    'https://vvchat.example#secret',
  ])('rejects the address %s', (VVCHAT_API_URL) => {
    expect(() => readDeliveryConfig({ ...delivery, VVCHAT_API_URL })).toThrow(
      new ConfigError(
        'VVCHAT_API_URL must be an https address without user, query or fragment (http only on loopback and for http://dev.vvchat.im).',
      ),
    );
  });

  test.each<Case>([
    [
      { APP_KEYS_PREFIX: undefined },
      'APP_KEYS_PREFIX must be set, or else APP_KEYS, and not both.',
    ],
    [{ APP_KEYS: 'test=secret' }, 'APP_KEYS_PREFIX must be set, or else APP_KEYS, and not both.'],
    [
      { APP_KEYS_PREFIX: 'secret' },
      'APP_KEYS_PREFIX must be a path of SSM parameters such as /service/stage/app-keys/.',
    ],
    ...['secret', 'test=', '=secret'].map(
      (APP_KEYS): Case => [
        { APP_KEYS, APP_KEYS_PREFIX: undefined },
        'APP_KEYS must be a list such as app=key,app=key.',
      ],
    ),
    [{ ROBOT_TIMEOUT_SECONDS: '0' }, 'ROBOT_TIMEOUT_SECONDS must be a whole number from 1 to 60.'],
    [{ ROBOT_TIMEOUT_SECONDS: '61' }, 'ROBOT_TIMEOUT_SECONDS must be a whole number from 1 to 60.'],
    [{ ROBOT_TIMEOUT_SECONDS: '' }, 'ROBOT_TIMEOUT_SECONDS is missing.'],
    [{ INBOX_RETENTION_DAYS: '0' }, 'INBOX_RETENTION_DAYS must be a whole number from 1 to 3650.'],
  ])('rejects %j', (changes, message) => {
    expect(() => readDeliveryConfig({ ...delivery, ...changes })).toThrow(new ConfigError(message));
  });
});
