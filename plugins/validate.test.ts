import { expect, test } from 'vitest';
import ValidatePlugin, { faultOf } from './validate.ts';

const plugin = (stage: string, command: string, environment = {}) =>
  new ValidatePlugin({
    processedInput: { commands: command.split(' ') },
    service: {
      provider: { stage, environment },
      functions: { webhook: { environment }, reply: { environment }, retry: { environment } },
    },
    classes: { Error },
  });

test.each(['deploy', 'deploy function', 'deploy list', 'remove', 'rollback', 'info', 'logs'])(
  'stage local refuses %s, and names the command for another stage',
  (command) => {
    expect(() => plugin('local', command).hooks.initialize?.()).toThrow(
      `Stage local exists on this machine only. Run: npx serverless ${command} --stage dev`,
    );
  },
);

test.each([
  ['local', 'package'],
  ['local', 'invoke local'],
  ['local', 'offline start'],
  ['dev', 'deploy'],
  ['dev', 'remove'],
])('stage %s allows %s', (stage, command) => {
  expect(() => plugin(stage, command).hooks.initialize?.()).not.toThrow();
});

test.each([
  'before:package:initialize',
  'before:deploy:function:initialize',
  'before:offline:start:init',
])('%s stops when settings are missing', (hook) => {
  expect(() => plugin('dev', 'package').hooks[hook]?.()).toThrow('INBOX_TABLE is missing');
});

test('every fault of every function is listed at once', () => {
  const none = { environment: {} };
  const [webhook, delivery, ...rest] =
    faultOf({}, { webhook: none, reply: none, retry: none })?.split('\n') ?? [];
  for (const name of ['MEMBERSHIPS_TABLE', 'INBOX_TABLE', 'ROUTED_EVENTS']) {
    expect(webhook).toContain(`${name} is missing`);
  }
  for (const name of ['INBOX_TABLE', 'TOKENS_TABLE', 'MUTES_TABLE', 'VVCHAT_API_URL']) {
    expect(delivery).toContain(`${name} is missing`);
  }
  expect(rest).toEqual(['Every stage but local takes these from the environment or from .env.']);
});

test('settings that are complete have no fault', () => {
  const delivery = {
    environment: {
      TOKENS_TABLE: 'tokens',
      MUTES_TABLE: 'mutes',
      VVCHAT_API_URL: 'https://vvchat.example',
      APP_KEYS_PREFIX: '/service/dev/app-keys/',
      APP_KEYS: null,
      INBOX_RETENTION_DAYS: '30',
      ROBOT_TIMEOUT_SECONDS: '60',
    },
  };
  const webhook = {
    environment: {
      MEMBERSHIPS_TABLE: 'memberships',
      WEBHOOK_TOKEN_SHA256: 'ab'.repeat(32),
      ROUTED_EVENTS: 'none',
      DEDUPE_WINDOW_SECONDS: '5',
    },
  };
  const shared = { INBOX_TABLE: 'inbox' };
  expect(faultOf(shared, { webhook, reply: delivery, retry: delivery })).toBeUndefined();
});
