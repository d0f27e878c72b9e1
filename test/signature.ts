import type { IncomingHttpHeaders } from 'node:http';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';

/** A request for `/`, as a server gets it. */
export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** What a signer adds by itself. */
const ITS_OWN = ['x-amz-date', 'x-amz-security-token'];

/**
 * The `authorization` that AWS's SDK would send with a request, at the time of which it tells.
 *
 * @param client with the region and the credentials of whoever sent it
 */
export async function signatureOf(
  client: DynamoDBClient,
  { headers, body }: Received,
): Promise<string> {
  const [, list = ''] = /SignedHeaders=([\w;-]+)/.exec(`${headers.authorization}`) ?? [];
  const names = list.split(';');
  for (const it of ['host', 'x-amz-date', 'x-amz-target']) {
    if (!names.includes(it)) throw new Error(`${it} is not signed`);
  }
  const time = `${headers['x-amz-date']}`;
  const parts = /^(....)(..)(..)T(..)(..)(..)Z$/.exec(time);
  if (!parts) throw new Error(`no time: ${time}`);
  const [, year, month, day, hours, minutes, seconds] = parts;
  const signer = Object.assign(await client.config.signer(), { applyChecksum: false });
  const signed = await signer.sign(
    {
      method: 'POST',
      protocol: 'http:',
      hostname: '127.0.0.1',
      path: '/',
      query: {},
      headers: Object.fromEntries(
        names.filter((it) => !ITS_OWN.includes(it)).map((it) => [it, `${headers[it]}`]),
      ),
      body,
    },
    { signingDate: new Date(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`) },
  );
  return `${signed.headers.authorization}`;
}
