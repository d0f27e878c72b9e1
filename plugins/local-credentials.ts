import { DynamoDBClient } from '@aws-sdk/client-dynamodb';

/** The parts of the framework that this plugin uses. */
interface Serverless {
  readonly service: { readonly provider: { readonly stage: string } };
}

/** The local DynamoDB takes any. */
const PLACEHOLDERS = { AWS_ACCESS_KEY_ID: 'local', AWS_SECRET_ACCESS_KEY: 'local' };

/**
 * Gives the functions of stage `local` credentials in their environment, where Lambda has them too: the
 * developer's own, for a robot's clients of other services, or else placeholders for the local DynamoDB. They
 * are never part of a package.
 */
export default class LocalCredentials {
  readonly hooks: Record<string, () => void | Promise<void>>;

  constructor({ service }: Serverless) {
    const whenLocal = (provide: () => void | Promise<void>) => () =>
      service.provider.stage === 'local' ? provide() : undefined;
    this.hooks = {
      'before:offline:start:init': whenLocal(provideOwn),
      // Here the framework has already put the developer's own into the environment.
      'before:invoke:local:invoke': whenLocal(providePlaceholders),
    };
  }
}

async function provideOwn(): Promise<void> {
  // Without it, a machine without credentials waits for those of an EC2 instance.
  process.env.AWS_EC2_METADATA_DISABLED ??= 'true';
  const { AWS_PROFILE } = process.env;
  try {
    const { accessKeyId, secretAccessKey, sessionToken } =
      await new DynamoDBClient().config.credentials();
    process.env.AWS_ACCESS_KEY_ID = accessKeyId;
    process.env.AWS_SECRET_ACCESS_KEY = secretAccessKey;
    if (sessionToken) process.env.AWS_SESSION_TOKEN = sessionToken;
  } catch (error) {
    if (AWS_PROFILE) {
      console.warn(
        `AWS profile ${AWS_PROFILE}: ${error}\nThe functions can use the local DynamoDB, and no other service of AWS.`,
      );
    }
  }
  // The SDK would prefer a profile to the keys, and warn that there are both.
  delete process.env.AWS_PROFILE;
  providePlaceholders();
}

function providePlaceholders(): void {
  if (!process.env.AWS_ACCESS_KEY_ID || !process.env.AWS_SECRET_ACCESS_KEY) {
    Object.assign(process.env, PLACEHOLDERS);
  }
}
