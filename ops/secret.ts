import { createHash, randomBytes } from 'node:crypto';
import { serviceName } from '../local/names.ts';
import { createCommand, type Options, run, UsageError } from './operator.ts';

/*
 * `npm run secret`: a token for the event URL, and what stands for it in the settings. It has 256 random bits, so
 * its bare hash can be stored: nobody finds it by trying. Of a token that somebody made up that is not so.
 */

const BYTES = 32;

const command = createCommand('secret', 'Makes a token for the event URL, and its hash for .env')
  .option(
    '--rotate <hash>',
    'keep the hash of the old token beside the new one, until VVChat has the new URL',
  )
  .addHelpText(
    'after',
    '\nNothing is stored: put the hash into .env, deploy, and register the URL at VVChat.',
  );

await run(command, async () => {
  const { stage, json, rotate } = command.opts<Options & { rotate?: string }>();
  if (rotate !== undefined && !/^[\da-f]{64}$/i.test(rotate)) {
    throw new UsageError(
      '--rotate takes the one hash that WEBHOOK_TOKEN_SHA256 has now, 64 hex digits.',
    );
  }
  const token = randomBytes(BYTES).toString('base64url');
  const hash = createHash('sha256').update(token).digest('hex');
  const hashes = rotate === undefined ? hash : `${hash},${rotate.toLowerCase()}`;
  if (json) {
    console.log(JSON.stringify({ query: `token=${token}`, WEBHOOK_TOKEN_SHA256: hashes }, null, 2));
    return;
  }
  const keys = `/${serviceName}/${stage}/app-keys`;
  console.log(`For .env, then deploy:

  WEBHOOK_TOKEN_SHA256=${hashes}

For VVChat, as the event URL of the app; it is a secret, and this is the only time you see it:

  https://<id>.execute-api.<region>.amazonaws.com/vvchat/events?token=${token}
${
  rotate === undefined
    ? ''
    : `
Both tokens are good until you leave the old hash away and deploy again:

  WEBHOOK_TOKEN_SHA256=${hash}
`
}
The key of an app, new or changed, needs no deployment; type it after the command, so it is in no history:

  (read -rs KEY && printf %s "$KEY") | aws ssm put-parameter --type SecureString --overwrite --name ${keys}/APP_ID --value file:///dev/stdin`);
});
