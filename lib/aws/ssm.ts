import { ParameterNotFound, SSMClient, SSMServiceException } from '@aws-sdk/client-ssm';
import { type ClientOptions, clientConfig } from './client-config.ts';
import type { Service } from './replacements/json-protocol.ts';

const SSM: Service = {
  name: 'ssm',
  version: '1.1',
  target: 'AmazonSSM',
  errorOf: (name) => (name === 'ParameterNotFound' ? ParameterNotFound : SSMServiceException),
};

/** A client of Systems Manager, which stores the apps' keys. */
export const createSsmClient = (options?: Partial<ClientOptions>): SSMClient =>
  new SSMClient(clientConfig(SSM, options));
