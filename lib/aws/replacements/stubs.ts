import { randomUUID } from 'node:crypto';
import type { Endpoint } from './endpoint.ts';
import type { HttpRequest } from './json-protocol.ts';
import type { Signer } from './signer.ts';

/*
 * In the zips, these stand for the functions of the same names that the SDK's clients import: configuration and
 * middleware that have nothing left to do once a client is configured by ../client-config.ts. plugins/esbuild.ts
 * puts them there, and fails a build in which one of them found no place.
 */

function asItIs<T>(config: T): T {
  return config;
}

export {
  asItIs as getRuntimeConfig,
  asItIs as resolveAccountIdEndpointModeConfig,
  asItIs as resolveAwsSdkSigV4Config,
  asItIs as resolveEndpointConfig,
  asItIs as resolveEndpointDiscoveryConfig,
  asItIs as resolveHostHeaderConfig,
  asItIs as resolveRegionConfig,
  asItIs as resolveRuntimeExtensions,
  asItIs as resolveUserAgentConfig,
};

/** The part of the SDK's `Pluggable` that is used. */
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

/** Sends every command to the client's one endpoint. */
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

/** Signs each attempt anew, in the only way there is. */
export function getHttpSigningPlugin({ signer }: { signer: Signer }): Plugin {
  return {
    applyToStack: (stack) =>
      stack.addRelativeTo(
        (next) => async (args) => next({ ...args, request: await signer.sign(args.request) }),
        { name: 'httpSigningMiddleware', relation: 'after', toMiddleware: 'retryMiddleware' },
      ),
  };
}

/** The clients construct it for a step that is left out. */
export class DefaultIdentityProviderConfig {}

// The SDK's retries import these two from a module that loads much else.

export { randomUUID as v4 };

export function parseRfc7231DateTime(text: string): Date {
  return new Date(text);
}
