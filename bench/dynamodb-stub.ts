import { fileURLToPath } from 'node:url';
import { end, messageFrom, printedBy, startNode } from './child.ts';

const FILE = fileURLToPath(new URL('peers/dynamodb-stub.ts', import.meta.url));

/** How handlers reach the stub: by plain HTTP, or by TLS as on AWS. */
export type Transport = 'http' | 'https';

/** The message of the stub's process once it listens. */
export interface Listening {
  readonly url: Readonly<Record<Transport, string>>;
  /** In PEM. */
  readonly certificate: string;
}

export interface DynamoDBStub extends Listening, AsyncDisposable {}

/**
 * Starts a process on two free ports of 127.0.0.1 that answers every request to DynamoDB with `{}`, at once.
 *
 * @throws {Error} with what it printed, when it does not come up
 */
export async function startDynamoDBStub(): Promise<DynamoDBStub> {
  const child = startNode([FILE], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  const listening = await messageFrom<Listening>(child, printedBy(child));
  return { ...listening, [Symbol.asyncDispose]: () => end(child) };
}
