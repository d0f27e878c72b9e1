import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { DynamoDBClient } from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import type { Table } from '../lib/dynamodb.ts';
import { createTables, nameOf } from '../local/service.ts';

/** A time that stands still until it is moved. */
export class Clock {
  #milliseconds = Date.parse('2026-03-14T09:00:00.000Z');

  readonly now = (): number => this.#milliseconds;

  advance(milliseconds: number): void {
    this.#milliseconds += milliseconds;
  }
}

export interface Engine extends AsyncDisposable {
  readonly endpoint: string;
  readonly client: DynamoDBClient;
  /** Another client, for a test to interfere with. */
  readonly newClient: () => DynamoDBClient;
  /** A table of stage local, with a clock to set. */
  readonly table: (name: 'memberships' | 'inbox' | 'tokens', clock?: Clock) => Table;
}

const CREDENTIALS = { accessKeyId: 'local', secretAccessKey: 'local' };

const clientOf = (endpoint: string) =>
  new DynamoDBClient({ endpoint, region: 'us-east-1', credentials: CREDENTIALS });

/** DynamoDB, embedded, over HTTP on a free port, with the tables of serverless.yml. */
export async function startEngine(): Promise<Engine> {
  const server = dynalite({ createTableMs: 0 }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = clientOf(endpoint);
  await createTables(client);
  return {
    endpoint,
    client,
    newClient: () => clientOf(endpoint),
    table: (name, clock = new Clock()) => ({ client, name: nameOf(name), now: clock.now }),
    [Symbol.asyncDispose]: async () => {
      client.destroy();
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * Has a client do the first call of an operation, and then act as if its answer had not come: the SDK repeats it.
 *
 * @returns whether that has happened
 */
export function loseFirstAnswer(client: DynamoDBClient, operation: string): () => boolean {
  let lost = false;
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        if (lost || commandName !== operation) return result;
        lost = true;
        throw Object.assign(new Error('socket hang up'), { name: 'TimeoutError' });
      },
    { step: 'deserialize', priority: 'low' },
  );
  return () => lost;
}

/** Has a client fail to read one shard of the index of what is due. */
export function failToReadShard(client: DynamoDBClient, shard: string | undefined): void {
  client.middlewareStack.add(
    (next) => async (args) => {
      const { ExpressionAttributeValues } = args.input as {
        ExpressionAttributeValues?: Record<string, { S: string }>;
      };
      if (ExpressionAttributeValues?.[':shard']?.S === shard) throw new Error('no');
      return next(args);
    },
    { step: 'initialize' },
  );
}
