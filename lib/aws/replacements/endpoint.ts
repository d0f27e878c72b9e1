export interface Endpoint {
  readonly url: URL;
}

/**
 * The address of a service: `AWS_ENDPOINT_URL_<SERVICE>` or `AWS_ENDPOINT_URL`, else its public one in a region of
 * AWS, of AWS China or of the European Sovereign Cloud.
 *
 * @throws {TypeError} when the variable holds no URL
 */
export function endpointOf({ name }: { readonly name: string }, region: string): URL {
  const { AWS_ENDPOINT_URL, [`AWS_ENDPOINT_URL_${name.toUpperCase()}`]: own } = process.env;
  const partition = region.slice(0, region.indexOf('-'));
  const suffix = SUFFIXES.get(partition) ?? 'amazonaws.com';
  return new URL(own || AWS_ENDPOINT_URL || `https://${name}.${region}.${suffix}`);
}

const SUFFIXES = new Map([
  ['cn', 'amazonaws.com.cn'],
  ['eusc', 'amazonaws.eu'],
]);
