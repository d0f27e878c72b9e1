import { ConfigError, readDeliveryConfig, readWebhookConfig } from '../lib/config.ts';

type Env = Record<string, string | null>;

/** What this plugin needs of the framework. */
interface Serverless {
  readonly processedInput: { readonly commands: readonly string[] };
  readonly service: {
    readonly provider: { readonly stage: string; readonly environment: Env };
    readonly functions: Record<'webhook' | 'reply' | 'retry', { readonly environment: Env }>;
  };
  readonly classes: { readonly Error: new (message: string) => Error };
}

const FOR_AWS = ['deploy', 'remove', 'rollback', 'info', 'logs', 'metrics'];

/**
 * Keeps stage `local` on this machine, and stops the packaging of functions whose settings cannot work. It comes
 * after plugins/robot.ts, which writes ROUTED_EVENTS.
 */
export default class ValidatePlugin {
  readonly hooks: Readonly<Record<string, () => void>>;

  constructor(serverless: Serverless) {
    const stop = (message: string) => {
      throw new serverless.classes.Error(message);
    };
    const check = () => {
      const { provider, functions } = serverless.service;
      const fault = faultOf(provider.environment, functions);
      if (fault) stop(fault);
    };
    this.hooks = {
      initialize: () => {
        const command = serverless.processedInput.commands.join(' ');
        const isLocal = serverless.service.provider.stage === 'local';
        if (isLocal && FOR_AWS.some((word) => command.startsWith(word))) {
          stop(
            `Stage local exists on this machine only. Run: npx serverless ${command} --stage dev`,
          );
        }
      },
      'before:package:initialize': check,
      'before:deploy:function:initialize': check,
      'before:offline:start': check,
      'before:offline:start:init': check,
    };
  }
}

/** The faults in the functions' environment, one a line; `undefined` if there are none. */
export function faultOf(
  shared: Env,
  { webhook, reply, retry }: Serverless['service']['functions'],
): string | undefined {
  const whole = ({ environment }: { environment: Env }) => {
    const entries = Object.entries({ ...shared, ...environment });
    return Object.fromEntries(entries.map(([name, value]) => [name, value ?? undefined]));
  };
  const faults = [
    faultIn(() => readWebhookConfig(whole(webhook))),
    faultIn(() => readDeliveryConfig(whole(reply))),
    faultIn(() => readDeliveryConfig(whole(retry))),
  ].filter((fault) => fault !== undefined);
  return faults.length > 0
    ? `${[...new Set(faults)].join('\n')}\nEvery stage but local takes these from the environment or from .env.`
    : undefined;
}

function faultIn(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
}
