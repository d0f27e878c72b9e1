import { createHash, randomBytes } from 'node:crypto';
import { serviceName } from '../local/names.ts';
import { createCommand, type Options, run, UsageError } from './command-line.ts';

/*
 * `npm run secret`: a token for the event URL, and the hash of it that the settings hold. The token has 256 random
 * bits, so an unsalted hash is safe to store: it cannot be guessed. The hash of a chosen password would not be.
 */

const BYTES = 32;

interface SecretOptions extends Options {
  readonly rotate?: string;
}

const command = createCommand('secret', 'Creates a token for the event URL, and its hash for .env')
  .option(
    '--rotate <hash>',
    'keep accepting the old token, given its hash, until VVChat uses the new URL',
  )
  .addHelpText(
    'after',
    '\nNothing is stored: put the hash into .env, deploy, and register the URL with VVChat.',
  );

await run(command, async () => {
  const { stage, json, rotate } = command.opts<SecretOptions>();
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

  (read -rs KEY && printf %s "$KEY") | aws ssm put-parameter --type SecureString --overwrite --name /${serviceName}/${stage}/app-keys/APP_ID --value file:///dev/stdin`);
});

function endOfRotation(hash: string): string {
  return `
Both tokens are accepted until you remove the old hash and deploy again:

  WEBHOOK_TOKEN_SHA256=${hash}
`;
}
