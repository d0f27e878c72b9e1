import { createHash, randomBytes } from 'node:crypto';
import { InvalidArgumentError } from 'commander';
import { nameOf, serviceName } from '../local/names.ts';
import { createCommand, type Options, run, UsageError } from './command-line.ts';

/*
 * `npm run secret`: a token for the event URL, and the hash of it that the settings hold. The token has 256 random
 * bits, so an unsalted hash is safe to store: it cannot be guessed. The hash of a chosen password would not be.
 */

const BYTES = 32;

interface SecretOptions extends Options {
  readonly rotate?: string;
  readonly app?: string;
}

const command = createCommand('secret', 'Creates a token for the event URL, and its hash for .env')
  .option(
    '--rotate <hash>',
    'keep accepting the old token, given its hash, until VVChat uses the new URL',
  )
  .option('--app <app_id>', "only print what changes this app's key", appId)
  .addHelpText(
    'after',
    '\nNothing is stored: put the hash into .env, deploy, and register the URL with VVChat.',
  );

await run(command, async () => {
  const { stage, json, rotate, app } = command.opts<SecretOptions>();
  if (app !== undefined) {
    printChangeOfKey(stage, app, json);
    return;
  }
  if (rotate !== undefined && !/^[\da-f]{64}$/i.test(rotate)) {
    throw new UsageError(
      '--rotate needs the one hash that WEBHOOK_TOKEN_SHA256 contains now: 64 hex digits.',
    );
  }
  const token = randomBytes(BYTES).toString('base64url');
  const hash = createHash('sha256').update(token).digest('hex');
  const hashes = rotate === undefined ? hash : `${hash},${rotate.toLowerCase()}`;
  if (json) {
    console.log(JSON.stringify({ query: `token=${token}`, WEBHOOK_TOKEN_SHA256: hashes }, null, 2));
    return;
  }
  console.log(`Put this into .env, and deploy:

  WEBHOOK_TOKEN_SHA256=${hashes}

Register this with VVChat as the event URL of the app. It is a secret, and is shown only once:

  https://<id>.execute-api.<region>.amazonaws.com/vvchat/events?token=${token}
${rotate === undefined ? '' : endOfRotation(hash)}
To store or change the key of an app, run this and type the key: so it stays out of the shell's history.
No deployment is needed:

  ${storingKey(stage, 'APP_ID')}`);
});

/** What SSM takes in the name of a parameter. */
function appId(text: string): string {
  if (/^[\w.-]{1,128}$/.test(text)) return text;
  throw new InvalidArgumentError('It must consist of letters, digits, ".", "-" and "_".');
}

function storingKey(stage: string, app: string): string {
  return `(read -rs KEY && printf %s "$KEY") | aws ssm put-parameter --type SecureString --overwrite --name /${serviceName}/${stage}/app-keys/${app} --value file:///dev/stdin`;
}

function printChangeOfKey(stage: string, app: string, json: boolean): void {
  const commands = {
    store_key: storingKey(stage, app),
    forget_token: `aws dynamodb delete-item --table-name ${nameOf('tokens', stage)} --key '{"app_id":{"S":"${app}"}}'`,
    retry_now: `npm run redrive -- --stage ${stage} --now --app ${app}`,
  };
  if (json) {
    console.log(JSON.stringify(commands, null, 2));
    return;
  }
  console.log(`Run these in this order. First store the key: type it, so that it stays out of the shell's history:

  ${commands.store_key}

Then forget the token that the old key fetched. Every function uses the new key within a minute:

  ${commands.forget_token}

If replies were waiting for the key, retry them now:

  ${commands.retry_now}`);
}

function endOfRotation(hash: string): string {
  return `
Both tokens are accepted until you remove the old hash and deploy again:

  WEBHOOK_TOKEN_SHA256=${hash}
`;
}
