import { createHmac, createSecretKey, hash, type KeyObject } from 'node:crypto';
import type { Agent, IncomingMessage } from 'node:http';
import { credentials } from './credentials.ts';

/*
 * What the clients of AWS's SDK are given in the functions' bundles (bundle/esbuild.ts sees to that) in place of
 * the parts that are made for every service, runtime and way of configuration: client, commands, middleware and
 * retries stay the SDK's. Each part below is one that the SDK lets its users replace, or one that without these
 * has nothing to do. Why, and what it gains: docs/performance.md.
 */

/** A service that speaks AWS JSON, in which a command's input and output are JSON as they are. */
export interface Service {
  /** In its host name, in signatures and, in capitals, in the variable `AWS_ENDPOINT_URL_…`. */
  readonly name: 'dynamodb' | 'ssm';
  /** Source: smithy.io/2.0/aws/protocols, AWS JSON 1.0 and 1.1. */
  readonly version: '1.0' | '1.1';
  /** What comes before the operation's name in `x-amz-target`. */
  readonly target: string;
  /** By the name that an answer has of it. */
  readonly errorOf: (name: string) => ErrorClass;
}

type ErrorClass = new (options: {
  name: string;
  message: string;
  $fault: 'client' | 'server';
  $metadata: object;
}) => Error;

/** A request, as it goes through the SDK's middleware. */
export interface HttpRequest {
  readonly method: 'POST';
  readonly protocol: string;
  readonly hostname: string;
  readonly port: number | undefined;
  readonly path: string;
  readonly query: Readonly<Record<string, never>>;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A response with the whole of its body. */
interface HttpResponse {
  readonly statusCode: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/** What lib/ sets of the SDK's `NodeHttpHandlerOptions`; times in milliseconds. */
export interface HandlerOptions {
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
  readonly httpsAgent?: { readonly maxSockets: number };
}

export interface Endpoint {
  readonly url: URL;
}

/**
 * In place of what the SDK reads from files and some ten environment variables: region and credentials as Lambda
 * sets them, and `AWS_ENDPOINT_URL_<SERVICE>` or `AWS_ENDPOINT_URL`.
 */
export function runtimeConfig<Config extends { readonly requestHandler: HandlerOptions }>(
  service: Service,
  { requestHandler, ...config }: Config,
) {
  const { AWS_REGION = '' } = process.env;
  let endpoint: Endpoint | undefined;
  return {
    ...config,
    region: async () => AWS_REGION,
    endpoint: async (): Promise<Endpoint> => {
      endpoint ??= { url: endpointOf(service, AWS_REGION) };
      return endpoint;
    },
    protocol: new JsonProtocol(service),
    requestHandler: new HttpHandler(requestHandler),
    bodyLengthChecker: (body: string) => Buffer.byteLength(body),
    signer: new Signer(service, AWS_REGION),
    retryMode: 'standard',
  };
}

/** Where a service is: in a region of AWS, of AWS China or of the European Sovereign Cloud, or where it is said. */
export function endpointOf({ name }: Pick<Service, 'name'>, region: string): URL {
  const { AWS_ENDPOINT_URL, [`AWS_ENDPOINT_URL_${name.toUpperCase()}`]: own } = process.env;
  const partition = region.slice(0, region.indexOf('-'));
  const suffix = SUFFIXES.get(partition) ?? 'amazonaws.com';
  return new URL(own || AWS_ENDPOINT_URL || `https://${name}.${region}.${suffix}`);
}

const SUFFIXES = new Map([
  ['cn', 'amazonaws.com.cn'],
  ['eusc', 'amazonaws.eu'],
]);

// ---- the protocol

/** Times are numbers, and there are no bytes: those are what JSON cannot hold as it is. */
class JsonProtocol {
  readonly #service: Service;

  constructor(service: Service) {
    this.#service = service;
  }

  setSerdeContext(): void {}

  async serializeRequest(
    { name }: { readonly name: string },
    input: unknown,
    { endpointV2 }: { readonly endpointV2: Endpoint },
  ): Promise<HttpRequest> {
    const { protocol, hostname, port, host, pathname } = endpointV2.url;
    const { version, target } = this.#service;
    const { _X_AMZN_TRACE_ID } = process.env;
    return {
      method: 'POST',
      protocol,
      hostname,
      port: port === '' ? undefined : Number(port),
      path: pathname,
      query: {},
      headers: {
        host,
        'content-type': `application/x-amz-json-${version}`,
        'x-amz-target': `${target}.${name}`,
        'user-agent': 'vvchat-robot aws-sdk-js',
        ...(_X_AMZN_TRACE_ID && { 'x-amzn-trace-id': _X_AMZN_TRACE_ID }),
      },
      body: JSON.stringify(input),
    };
  }

  async deserializeResponse(
    _operation: unknown,
    _context: unknown,
    response: HttpResponse,
  ): Promise<object> {
    const { statusCode, headers, body } = response;
    const $metadata = { httpStatusCode: statusCode, requestId: headers['x-amzn-requestid'] };
    if (statusCode >= 300) throw this.#errorOf(response, $metadata);
    return { ...JSON.parse(body || '{}'), $metadata };
  }

  /** By its name and status the SDK decides whether a request is repeated. */
  #errorOf({ statusCode, headers, body }: HttpResponse, $metadata: object): Error {
    const { __type, code, message, Message } = fieldsOf(body);
    const said = `${__type ?? code ?? headers['x-amzn-errortype'] ?? ''}`;
    const name = said.replace(/^.*#|:.*$/g, '') || 'UnknownError';
    const $fault = statusCode < 500 ? 'client' : 'server';
    const ErrorClass = this.#service.errorOf(name);
    const text = `${message ?? Message ?? 'UnknownError'}`;
    return new ErrorClass({ name, message: text, $fault, $metadata });
  }
}

/** Nothing, where a gateway has answered with something else than JSON. */
function fieldsOf(body: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}

// ---- the signature

const sha256 = (text: string) => hash('sha256', text);
const hmac = (key: string | Buffer | KeyObject, text: string) =>
  createHmac('sha256', key).update(text).digest();

/** Source: "Create a signed AWS API request" in AWS's IAM guide (Signature Version 4). */
export class Signer {
  readonly #service: string;
  readonly #region: string;
  /** It is the same for a day, unless the secret changes. Of bytes, Node makes a key for every use. */
  #key: { readonly madeOf: string; readonly key: KeyObject } | undefined;

  constructor({ name }: Service, region: string) {
    this.#service = name;
    this.#region = region;
  }

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

/** What a signature covers, in the order of the alphabet. */
const SIGNED = ['content-type', 'host', 'x-amz-date', 'x-amz-target'];
const SIGNED_WITH_TOKEN = SIGNED.toSpliced(3, 0, 'x-amz-security-token');

// ---- the request

/** Requests by Node's client on connections that are kept alive; each ends in time, whatever the server does. */
class HttpHandler {
  readonly metadata = { handlerProtocol: 'http/1.1' };
  readonly #options: HandlerOptions;
  #agent: Agent | undefined;

  constructor(options: HandlerOptions) {
    this.#options = options;
  }

  handle(
    { protocol, hostname, port, method, path, headers, body }: HttpRequest,
    { abortSignal }: { readonly abortSignal?: AbortSignal } = {},
  ): Promise<{ response: HttpResponse }> {
    const { connectionTimeout, requestTimeout, httpsAgent } = this.#options;
    // Only what the endpoint needs is loaded: TLS takes 4 ms.
    const http = process.getBuiltinModule(protocol === 'https:' ? 'node:https' : 'node:http');
    this.#agent ??= new http.Agent({ keepAlive: true, ...httpsAgent });
    const agent = this.#agent;
    return new Promise((resolve, reject) => {
      if (abortSignal?.aborted) return reject(ended('AbortError', 'aborted'));
      const host = hostname.replace(/^\[|\]$/g, '');
      const request = http.request({ agent, host, port, method, path, headers });
      const settle = () => {
        clearTimeout(connecting);
        clearTimeout(answering);
        abortSignal?.removeEventListener('abort', abort);
      };
      const fail = (error: Error) => {
        settle();
        reject(error);
        // Without a socket it does not tell of its error by itself.
        request.destroy(error);
      };
      const abort = () => fail(ended('AbortError', 'aborted'));
      const timer = (ms: number, what: string) =>
        setTimeout(() => fail(ended('TimeoutError', `${what} for ${ms} ms`)), ms);
      const connecting = timer(connectionTimeout, 'no connection');
      const answering = timer(requestTimeout, 'no answer');
      abortSignal?.addEventListener('abort', abort);
      request.on('socket', (socket) => {
        const connected = () => clearTimeout(connecting);
        if (socket.connecting) socket.once('connect', connected);
        else connected();
      });
      // By its name it is told of; by its code the SDK knows whether to try again.
      const broken = (error: NodeJS.ErrnoException) =>
        fail(Object.assign(error, { name: error.code ?? error.name }));
      request.on('error', broken);
      request.on('response', (incoming) => {
        const { statusCode = 0, headers } = incoming;
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', broken);
        incoming.on('end', () => {
          settle();
          resolve({ response: { statusCode, headers, body: `${Buffer.concat(chunks)}` } });
        });
      });
      request.end(body);
    });
  }
}

/** By these names the SDK tells an end that it may try again after from one that it may not. */
const ended = (name: 'AbortError' | 'TimeoutError', message: string) =>
  Object.assign(new Error(message), { name });
