import {
  GetAccountSettingsCommand,
  GetFunctionConcurrencyCommand,
  LambdaClient,
  ResourceNotFoundException,
} from '@aws-sdk/client-lambda';

/**
 * What is reserved if no setting says otherwise, which also is the most that the function can have. `webhook` needs 20
 * for the rate limit of its route, `retry` 5 for its runs of each minute.
 */
export const DEFAULTS = { webhook: 100, retry: 10 } as const;

/**
 * How much must remain unreserved in the account for `reply` and for functions of others. AWS demands 100; an account
 * that begins with 1,000 has this, and one that begins with 10 does not.
 */
export const MIN_UNRESERVED = 500;

type Name = keyof typeof DEFAULTS;
const NAMES = Object.keys(DEFAULTS) as Name[];

interface ReservableFunction {
  readonly name: string;
  reservedConcurrency?: number | null;
}

/** What this plugin needs of the framework. */
interface Serverless {
  readonly processedInput: { readonly commands: readonly string[] };
  readonly service: {
    readonly provider: { readonly region: string };
    readonly functions: Record<Name, ReservableFunction>;
  };
}

interface Utils {
  readonly log: Record<'notice' | 'warning', (text: string) => void>;
}

/** What is unreserved in an account, and what functions have reserved by their names. */
export interface Account {
  readonly unreserved: () => Promise<number>;
  readonly reservedFor: (name: string) => Promise<number>;
}

/**
 * Reserves concurrency when a stage is deployed, so that neither a flood nor an outage of DynamoDB takes all that the
 * account has, and so that the two functions on which the promise rests always have some. An account that has little
 * is left as it is: reserving there fails the deployment.
 */
export default class ReserveConcurrencyPlugin {
  readonly hooks: Readonly<Record<string, () => Promise<void>>>;

  constructor(serverless: Serverless, _options: unknown, { log }: Utils, account?: Account) {
    this.hooks = {
      'before:package:initialize': async () => {
        if (serverless.processedInput.commands.join(' ') !== 'deploy') return;
        const { provider, functions } = serverless.service;
        try {
          const reserved = await reserve(functions, account ?? accountIn(provider.region));
          log.notice(`Reserved concurrency: ${reserved}`);
        } catch (error) {
          const name = error instanceof Error ? error.name : typeof error;
          log.warning(
            `No concurrency is reserved: the account's limit could not be read (${name}).`,
          );
        }
      },
    };
  }
}

/** @returns a sentence that says what is reserved */
async function reserve(functions: Serverless['service']['functions'], account: Account) {
  const open = NAMES.filter((name) => functions[name].reservedConcurrency == null);
  if (process.env.RESERVE_CONCURRENCY === 'false' || open.length === 0)
    return 'as the settings say.';
  const own = await Promise.all(open.map((name) => account.reservedFor(functions[name].name)));
  const available = (await account.unreserved()) + sum(own);
  if (available - sum(open.map((name) => DEFAULTS[name])) < MIN_UNRESERVED) {
    return `none, because ${available} of the account's are unreserved, and ${MIN_UNRESERVED} must remain so.`;
  }
  for (const name of open) functions[name].reservedConcurrency = DEFAULTS[name];
  return `${open.map((name) => `${name} ${DEFAULTS[name]}`).join(', ')}.`;
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** The account of the credentials in the environment. */
function accountIn(region: string): Account {
  const client = new LambdaClient({ region, maxAttempts: 2 });
  return {
    unreserved: async () => {
      const { AccountLimit } = await client.send(new GetAccountSettingsCommand());
      return AccountLimit?.UnreservedConcurrentExecutions ?? 0;
    },
    reservedFor: async (FunctionName) => {
      try {
        const input = { FunctionName };
        const { ReservedConcurrentExecutions } = await client.send(
          new GetFunctionConcurrencyCommand(input),
        );
        return ReservedConcurrentExecutions ?? 0;
      } catch (error) {
        if (error instanceof ResourceNotFoundException) return 0;
        throw error;
      }
    },
  };
}
