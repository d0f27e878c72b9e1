import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';
import { credentials } from './credentials.ts';
import type { HttpRequest, Service } from './json-protocol.ts';

/**
 * Replaces the SDK's signer, for requests without a query.
 *
 * Source: "Create a signed AWS API request" in AWS's IAM guide (Signature Version 4).
 */
export class Signer {
  readonly #service: string;
  readonly #region: string;
  /** Lasts for a day, unless the secret changes. Given bytes, Node would make a key object at each use. */
  #key: { readonly madeOf: string; readonly key: KeyObject } | undefined;

  constructor({ name }: Pick<Service, 'name'>, region: string) {
    this.#service = name;
    this.#region = region;
  }

  /** @throws {CredentialsError} */
  async sign(request: HttpRequest): Promise<HttpRequest> {
    const { accessKeyId, secretAccessKey, sessionToken } = await credentials();
    const time = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    const day = time.slice(0, 8);
    const scope = `${day}/${this.#region}/${this.#service}/aws4_request`;
    const headers: Record<string, string> = {
      ...request.headers,
      'x-amz-date': time,
      ...(sessionToken && { 'x-amz-security-token': sessionToken }),
    };
    const names = sessionToken ? SIGNED_WITH_TOKEN : SIGNED;
    const signed = names.join(';');
    const canonical = [
      request.method,
      request.path,
      '',
      ...names.map((name) => `${name}:${headers[name]}`),
      '',
      signed,
      sha256(request.body),
    ].join('\n');
    const toSign = ['AWS4-HMAC-SHA256', time, scope, sha256(canonical)].join('\n');
    const signature = hmac(this.#keyOf(secretAccessKey, day), toSign).toString('hex');
    headers.authorization = `AWS4-HMAC-SHA256 Credential=${accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
    return { ...request, headers };
  }

  #keyOf(secretAccessKey: string, day: string): KeyObject {
    const madeOf = day + secretAccessKey;
    if (this.#key?.madeOf !== madeOf) {
      const ofDay = hmac(`AWS4${secretAccessKey}`, day);
      const bytes = [this.#region, this.#service, 'aws4_request'].reduce(hmac, ofDay);
      this.#key = { madeOf, key: createSecretKey(bytes) };
    }
    return this.#key.key;
  }
}

/** In alphabetical order, as the signature wants them. */
const SIGNED = ['content-type', 'host', 'x-amz-date', 'x-amz-target'];
const SIGNED_WITH_TOKEN = SIGNED.toSpliced(3, 0, 'x-amz-security-token');

const sha256 = (text: string) => hash('sha256', text);
const hmac = (key: string | Buffer | KeyObject, text: string) =>
  createHmac('sha256', key).update(text).digest();
