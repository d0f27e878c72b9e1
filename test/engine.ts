import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import {
  type CreateTableCommandInput,
  DeleteTableCommand,
  DynamoDBClient,
} from '@aws-sdk/client-dynamodb';
import dynalite from 'dynalite';
import type { InboxTable } from '../lib/inbox/table.ts';
import { nameOf } from '../local/names.ts';
import { createTables, tableDefinitions } from '../local/tables.ts';
import { packaged, tablesIn } from './package.ts';

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
  /** With which a function finds it. */
  readonly environment: Readonly<Record<string, string>>;
  readonly client: DynamoDBClient;
  /** Another client, for a test to interfere with. */
  readonly newClient: () => DynamoDBClient;
  /** A table of stage local, with a clock to set; its random numbers are all 0.5. */
  readonly table: (
    name: 'memberships' | 'inbox' | 'tokens' | 'mutes',
    clock?: Pick<Clock, 'now'>,
  ) => InboxTable;
}

/**
 * DynamoDB over HTTP, with the tables of stage local: the embedded engine, on a free port and with the tables of
 * serverless.yml; or Amazon's, with those of the compiled template and for this engine alone.
 */
export const startEngine = (shared = process.env.DYNAMODB_LOCAL_ENDPOINT): Promise<Engine> =>
  shared === undefined ? startDynalite() : openDynamoDBLocal(shared);

async function startDynalite(): Promise<Engine> {
  const server = dynalite({ createTableMs: 0 }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return openEngine(`http://127.0.0.1:${port}`, 'local', tableDefinitions(), async () => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  });
}

async function openDynamoDBLocal(endpoint: string): Promise<Engine> {
  const tables = tablesIn(await packaged());
  // It keeps the data of different keys apart.
  const accessKeyId = randomBytes(8).toString('hex');
  const engine = await openEngine(endpoint, accessKeyId, tables, async () => {
    for (const { TableName } of tables) {
      await engine.client.send(new DeleteTableCommand({ TableName }));
    }
  });
  return engine;
}

async function openEngine(
  endpoint: string,
  accessKeyId: string,
  tables: CreateTableCommandInput[],
  close: () => Promise<void>,
): Promise<Engine> {
  const credentials = { accessKeyId, secretAccessKey: 'local' };
  const newClient = () => new DynamoDBClient({ endpoint, region: 'us-east-1', credentials });
  const client = newClient();
  await createTables(client, tables);
  return {
    endpoint,
    environment: {
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: accessKeyId,
      AWS_SECRET_ACCESS_KEY: 'local',
      AWS_ENDPOINT_URL: endpoint,
    },
    client,
    newClient,
    table: (name, clock = new Clock()) => ({
      client,
      name: nameOf(name),
      now: clock.now,
      retentionDays: 30,
      random: () => 0.5,
    }),
    [Symbol.asyncDispose]: async () => {
      await close();
      client.destroy();
    },
  };
}

/**
 * Has a client do the first call of an operation, and then act as if its answer had not come: the SDK repeats it.
 *
 * @param meanwhile what happens before it does
 * @returns whether that has happened
 */
export function loseFirstAnswer(
  client: DynamoDBClient,
  operation: string,
  meanwhile: () => Promise<unknown> = async () => {},
): () => boolean {
  let lost = false;
  client.middlewareStack.add(
    (next, { commandName }) =>
      async (args) => {
        const result = await next(args);
        if (lost || commandName !== operation) return result;
        lost = true;
        await meanwhile();
        throw Object.assign(new Error('socket hang up'), { name: 'TimeoutError' });
      },
    { step: 'deserialize', priority: 'low' },
  );
  return () => lost;
}

/**
 * Has a client do something before each call, such as wait, or throw in place of it.
 *
 * @param act gets the name of the operation and what it is called with
 */
export function beforeCalls(
  client: DynamoDBClient,
  act: (operation: string, input: Input) => unknown,
): void {
  client.middlewareStack.add(
    (next, { commandName = '' }) =>
      async (args) => {
        await act(commandName.replace(/Command$/, ''), args.input as Input);
        return next(args);
      },
    { step: 'initialize' },
  );
}

/** What calls have in them, each some of it. */
interface Input {
  readonly Key?: Readonly<Record<string, { readonly S: string }>>;
  readonly ExpressionAttributeValues?: Readonly<Record<string, { readonly S: string }>>;
  readonly IndexName?: string;
  readonly ConsistentRead?: boolean;
}

/** Has a client fail to read one shard of the index of what is due. */
export const failToReadShard = (client: DynamoDBClient, shard: string | undefined): void =>
  beforeCalls(client, (_, { ExpressionAttributeValues }) => {
    if (ExpressionAttributeValues?.[':shard']?.S === shard) throw new Error('no');
  });
