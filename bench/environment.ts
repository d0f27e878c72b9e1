import { ENVIRONMENT } from './peers/requests.ts';
import type { TargetName } from './targets.ts';

/**
 * All that a container of a handler has in its environment: what Lambda sets, made up, and what the handlers read.
 *
 * @param home a folder without any files of AWS's tools, as on Lambda
 * @param certificate a file, trusted besides the authorities that Node trusts
 */
export const environmentFor = (
  name: TargetName,
  endpoint: string,
  home: string,
  certificate: string,
): Record<string, string> => ({
  PATH: process.env.PATH ?? '',
  HOME: home,
  AWS_REGION: 'us-east-1',
  AWS_ACCESS_KEY_ID: 'AKIAIOSFODNN7EXAMPLE',
  AWS_SECRET_ACCESS_KEY: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
  AWS_SESSION_TOKEN: 'made-up-session-token'.repeat(30),
  AWS_LAMBDA_FUNCTION_NAME: `bench-${name}`,
  AWS_ENDPOINT_URL: endpoint,
  NODE_EXTRA_CA_CERTS: certificate,
  ...ENVIRONMENT,
  // The sample of session-open is of another app than that of at.
  VVCHAT_APP_IDS: 'test,qiyunxin',
  ...(name === 'webhook' && { METRICS_SERVICE: 'vvchat-robot-bench' }),
});
