import { randomUUID } from 'node:crypto';
import type { Endpoint, HttpRequest, Signer } from './json-protocol.ts';

/*
 * What the SDK's clients call, under the SDK's names, and what of it is left to do. These are functions and not
 * constants: the SDK and what brings this file import each other, and the SDK may come first.
 */

function asItIs<T>(config: T): T {
  return config;
}

export {
  asItIs as resolveAccountIdEndpointModeConfig,
  asItIs as resolveAwsSdkSigV4Config,
  asItIs as resolveEndpointConfig,
  asItIs as resolveEndpointDiscoveryConfig,
  asItIs as resolveHostHeaderConfig,
  asItIs as resolveRegionConfig,
  asItIs as resolveRuntimeExtensions,
  asItIs as resolveUserAgentConfig,
};

/** What is used of the SDK's `Pluggable`. */
interface Plugin {
  readonly applyToStack: (stack: Stack) => void;
}
interface Stack {
  readonly addRelativeTo: (middleware: Middleware, where: object) => void;
}
type Middleware = (next: Handler, context: { endpointV2?: Endpoint }) => Handler;
type Handler = (args: { readonly request: HttpRequest }) => Promise<unknown>;

function nothing(): Plugin {
  return { applyToStack: () => {} };
}

export {
  nothing as getHostHeaderPlugin,
  nothing as getHttpAuthSchemeEndpointRuleSetPlugin,
  nothing as getLoggerPlugin,
  nothing as getRecursionDetectionPlugin,
  nothing as getUserAgentPlugin,
};

/** Every command goes to the one endpoint. */
export function getEndpointPlugin({ endpoint }: { endpoint: () => Promise<Endpoint> }): Plugin {
  return {
    applyToStack: (stack) =>
      stack.addRelativeTo(
        (next, context) => async (args) => {
          context.endpointV2 = await endpoint();
          return next(args);
        },
        { name: 'endpointV2Middleware', relation: 'before', toMiddleware: 'serializerMiddleware' },
      ),
  };
}

/** Each try is signed anew, in the one way that there is. */
export function getHttpSigningPlugin({ signer }: { signer: Signer }): Plugin {
  return {
    applyToStack: (stack) =>
      stack.addRelativeTo(
        (next) => async (args) => next({ ...args, request: await signer.sign(args.request) }),
        { name: 'httpSigningMiddleware', relation: 'after', toMiddleware: 'retryMiddleware' },
      ),
  };
}

/** Is named by the clients, for a step that is not taken. */
export class DefaultIdentityProviderConfig {}

// ---- what the SDK's retries take from its room of many small things

export { randomUUID as v4 };

export function parseRfc7231DateTime(text: string): Date {
  return new Date(text);
}
