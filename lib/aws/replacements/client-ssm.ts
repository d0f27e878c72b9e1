import { ParameterNotFound, type SSMClientConfig, SSMServiceException } from '@aws-sdk/client-ssm';
import { type HandlerOptions, runtimeConfig } from './json-protocol.ts';

export * from './stubs.ts';

/** Replaces the function of this name in the SDK's client of SSM. */
export function getRuntimeConfig(
  config: SSMClientConfig & { readonly requestHandler: HandlerOptions },
) {
  return runtimeConfig(
    {
      name: 'ssm',
      version: '1.1',
      target: 'AmazonSSM',
      errorOf: (name) => (name === 'ParameterNotFound' ? ParameterNotFound : SSMServiceException),
    },
    config,
  );
}
