import type { IncomingHttpHeaders } from 'node:http';
import type { DynamoDBClient } from '@aws-sdk/client-dynamodb';

/** A request for `/`, as a server receives it. */
export interface Received {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** The headers that a signer adds. */
const ADDED = ['x-amz-date', 'x-amz-security-token'];

/**
 * The `authorization` header that AWS's SDK would send with a request, at the time that its date names.
 *
 * @param client one with the region and the credentials of the sender
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
  if (!parts) throw new Error(`not a date: ${time}`);
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
        names.filter((it) => !ADDED.includes(it)).map((it) => [it, `${headers[it]}`]),
      ),
      body,
    },
    { signingDate: new Date(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`) },
  );
  return `${signed.headers.authorization}`;
}
