import { GetParameterCommand, ParameterNotFound } from '@aws-sdk/client-ssm';
import { createSsmClient } from '../aws/ssm.ts';
import type { DeliveryConfig } from '../config.ts';

/** An app has no key, or its key could not be read. */
export class AppKeyError extends Error {
  override readonly name = 'AppKeyError';
}

/** Leaves time to fetch the token within the lease of the worker that does. */
const READ_MS = 4_000;

/**
 * Reads the apps' keys from SSM parameters below a path (SecureString, read anew at each call, so that a changed key
 * needs no deployment), or from the configuration itself.
 *
 * @returns a function that rejects with {@link AppKeyError}
 */
export function appKeys({
  APP_KEYS,
  APP_KEYS_PREFIX,
}: Pick<DeliveryConfig, 'APP_KEYS' | 'APP_KEYS_PREFIX'>): (app_id: string) => Promise<string> {
  if (APP_KEYS) {
    return async (app_id) => APP_KEYS.get(app_id) ?? missing(app_id, 'APP_KEYS');
  }
  const ssm = createSsmClient();
  return async (app_id) => {
    try {
      const { Parameter } = await ssm.send(
        new GetParameterCommand({ Name: `${APP_KEYS_PREFIX}${app_id}`, WithDecryption: true }),
        { abortSignal: AbortSignal.timeout(READ_MS) },
      );
      return Parameter?.Value || missing(app_id, `${APP_KEYS_PREFIX}`);
    } catch (cause) {
      if (cause instanceof AppKeyError) throw cause;
      if (cause instanceof ParameterNotFound) return missing(app_id, `${APP_KEYS_PREFIX}`, cause);
      throw new AppKeyError(`the key of app ${app_id} cannot be read from SSM`, { cause });
    }
  };
}

function missing(app_id: string, place: string, cause?: unknown): never {
  throw new AppKeyError(`app ${app_id} has no key in ${place}`, { cause });
}
