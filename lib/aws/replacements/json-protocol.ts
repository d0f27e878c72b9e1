import type { IncomingMessage } from 'node:http';
import type { Endpoint } from './endpoint.ts';

/** A service that speaks AWS JSON, in which a command's input and output are JSON as they are. */
export interface Service {
  /** In its host name, in signatures and, in capitals, in the variable `AWS_ENDPOINT_URL_…`. */
  readonly name: 'dynamodb' | 'ssm';
  /** Source: smithy.io/2.0/aws/protocols, AWS JSON 1.0 and 1.1. */
  readonly version: '1.0' | '1.1';
  /** The prefix of the operation's name in `x-amz-target`. */
  readonly target: string;
  /** The class of an error, by the name that the response gives it. */
  readonly errorOf: (name: string) => ErrorClass;
}

type ErrorClass = new (options: {
  name: string;
  message: string;
  $fault: 'client' | 'server';
  $metadata: object;
}) => Error;

/** A request, as it passes through the SDK's middleware. */
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

/** A response with its whole body. */
export interface HttpResponse {
  readonly statusCode: number;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

/**
 * Replaces the SDK's protocol, which goes by the schemas of all commands. Plain JSON cannot hold bytes and dates,
 * and no request of ours has any; an author's own clients are the SDK's as they come.
 */
export class JsonProtocol {
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

  /** The SDK decides by the error's name and status whether to send the request again. */
  #errorOf({ statusCode, headers, body }: HttpResponse, $metadata: object): Error {
    const { __type, code, message, Message } = fieldsOf(body);
    const type = `${__type ?? code ?? headers['x-amzn-errortype'] ?? ''}`;
    const name = type.replace(/^.*#|:.*$/g, '') || 'UnknownError';
    const $fault = statusCode < 500 ? 'client' : 'server';
    const ErrorClass = this.#service.errorOf(name);
    const text = `${message ?? Message ?? 'UnknownError'}`;
    return new ErrorClass({ name, message: text, $fault, $metadata });
  }
}

/** Empty when a gateway has answered with something other than JSON. */
function fieldsOf(body: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}
