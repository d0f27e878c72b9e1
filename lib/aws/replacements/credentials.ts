/**
 * The credentials that sign requests: those of the function's role, which Lambda always puts into the environment.
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

/** The SDK's own providers use this name when they find none. */
class CredentialsError extends Error {
  override readonly name = 'CredentialsProviderError';

  constructor() {
    super('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not in the environment.');
  }
}
