import { fileURLToPath } from 'node:url';
import { ConfigError, readDeliveryConfig, readWebhookConfig } from '../lib/config.ts';
import { routedEvents } from '../lib/robot.ts';
import { robot } from '../robot/robot.ts';

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

/** Keeps stage `local` on this machine, and lets nothing be packaged that would not work. */
export default class StageGuard {
  readonly hooks: Record<string, () => void>;

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
          stop(`Stage local is for this machine. Type: npx serverless ${command} --stage dev`);
        }
      },
      'before:package:initialize': check,
      'before:offline:start:init': check,
    };
  }
}

/** What is wrong with the functions' environment; nothing if all is well. */
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
    ? `${[...new Set(faults)].join('\n')}\nStages but local take these from the environment or from .env.`
    : routingFault(readWebhookConfig(whole(webhook)).ROUTED_EVENTS);
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

/** What to change when the webhook queues other events than the robot answers. */
export function routingFault(
  routed: ReadonlySet<string>,
  answered: readonly string[] = routedEvents(robot),
): string | undefined {
  if (routed.symmetricDifference(new Set(answered)).size === 0) return undefined;
  const file = fileURLToPath(new URL('../serverless.yml', import.meta.url));
  return `The robot in robot/robot.ts answers other events than are queued for it. In ${file} change the line to:\n  ROUTED_EVENTS: ${answered.join(',')}`;
}
