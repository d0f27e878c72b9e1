import { endpointOf } from './replacements/endpoint.ts';
import { HttpHandler, type HttpHandlerOptions } from './replacements/http-handler.ts';
import { JsonProtocol, type Service } from './replacements/json-protocol.ts';
import { Signer } from './replacements/signer.ts';

export interface ClientOptions extends HttpHandlerOptions {
  /** How often a request is sent at most. */
  readonly maxAttempts: number;
}

const DEFAULTS: ClientOptions = {
  maxAttempts: 3,
  connectionTimeout: 1_000,
  requestTimeout: 2_000,
  // As many as are ever in flight: waiting for a socket counts as connecting.
  maxSockets: 200,
};

/**
 * Configures a client of AWS's SDK by the parts in `replacements/`. The SDK takes each of them as an option, so
 * these clients behave the same wherever they run. What the SDK has for other services, runtimes and ways of
 * configuration is then never called, and plugins/esbuild.ts leaves it out of the zips. docs/performance.md has
 * what that gains, and what it gives up.
 *
 * Region, credentials and endpoint come from the environment alone: `AWS_REGION`, `AWS_ACCESS_KEY_ID` and the
 * like, as Lambda sets them, and `AWS_ENDPOINT_URL_<SERVICE>` or `AWS_ENDPOINT_URL`.
 */
export function clientConfig(service: Service, options: Partial<ClientOptions> = {}): object {
  const { maxAttempts, ...handlerOptions } = { ...DEFAULTS, ...options };
  const { AWS_REGION = '' } = process.env;
  let endpoint: { readonly url: URL } | undefined;
  return {
    maxAttempts,
    retryMode: 'standard',
    region: async () => AWS_REGION,
    // Only when it is needed, so that a wrong address fails the request and not the function's start.
    endpoint: async () => {
      endpoint ??= { url: endpointOf(service, AWS_REGION) };
      return endpoint;
    },
    protocol: new JsonProtocol(service),
    requestHandler: new HttpHandler(handlerOptions),
    bodyLengthChecker: (body: string) => Buffer.byteLength(body),
    signer: new Signer(service, AWS_REGION),
  };
}
