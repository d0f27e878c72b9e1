/**
 * What requests are signed by: Lambda always has the credentials of the function's role in the environment, and
 * `invoke local` puts there what it finds.
 *
 * @throws {CredentialsError}
 */
export async function credentials() {
  const {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_SESSION_TOKEN: sessionToken,
  } = process.env;
  if (!accessKeyId || !secretAccessKey) throw new CredentialsError();
  return { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) };
}

/** By this name the SDK's own providers tell that there are none. */
class CredentialsError extends Error {
  override readonly name = 'CredentialsProviderError';

  constructor() {
    super('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment.');
  }
}
