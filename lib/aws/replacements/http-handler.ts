import type { Agent } from 'node:http';
import type { HttpRequest, HttpResponse } from './json-protocol.ts';

/** Times in milliseconds. */
export interface HttpHandlerOptions {
  readonly connectionTimeout: number;
  /** From the request to the end of its response; the SDK's ends when the response begins. */
  readonly requestTimeout: number;
  readonly maxSockets: number;
}

/** The most that DynamoDB returns, to BatchGetItem; a page of a query has 1 MB. Source: its "Quotas". */
const MAX_BODY_BYTES = 16 * 1024 * 1024;

/**
 * Replaces the SDK's handler: Node's HTTP client on kept-alive connections, each request within its time, and each
 * response within 16 MB.
 */
export class HttpHandler {
  readonly metadata = { handlerProtocol: 'http/1.1' };
  readonly #options: HttpHandlerOptions;
  #agent: Agent | undefined;

  constructor(options: HttpHandlerOptions) {
    this.#options = options;
  }

  handle(
    { protocol, hostname, port, method, path, headers, body }: HttpRequest,
    { abortSignal }: { readonly abortSignal?: AbortSignal } = {},
  ): Promise<{ response: HttpResponse }> {
    const { connectionTimeout, requestTimeout, maxSockets } = this.#options;
    // Only the module that the endpoint needs is loaded: TLS takes 4 ms.
    const http = process.getBuiltinModule(protocol === 'https:' ? 'node:https' : 'node:http');
    this.#agent ??= new http.Agent({ keepAlive: true, maxSockets });
    const agent = this.#agent;
    return new Promise((resolve, reject) => {
      if (abortSignal?.aborted) return reject(named('AbortError', 'aborted'));
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
        // Rejected first: without a socket, a destroyed request emits no error.
        request.destroy(error);
      };
      const abort = () => fail(named('AbortError', 'aborted'));
      const timer = (ms: number, missing: string) =>
        setTimeout(() => fail(named('TimeoutError', `${missing} for ${ms} ms`)), ms);
      const connecting = timer(connectionTimeout, 'no connection');
      const answering = timer(requestTimeout, 'no answer');
      abortSignal?.addEventListener('abort', abort);
      request.on('socket', (socket) => {
        const connected = () => clearTimeout(connecting);
        if (socket.connecting) socket.once('connect', connected);
        else connected();
      });
      // The name is what gets logged; by the code the SDK knows whether to send the request again.
      const broken = (error: NodeJS.ErrnoException) =>
        fail(Object.assign(error, { name: error.code ?? error.name }));
      request.on('error', broken);
      request.on('response', (incoming) => {
        const { statusCode = 0, headers } = incoming;
        const chunks: Buffer[] = [];
        let bytes = 0;
        incoming.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_BODY_BYTES) return fail(tooLarge());
          chunks.push(chunk);
        });
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

/** The SDK decides by these names whether it repeats a request. */
const named = (name: 'AbortError' | 'TimeoutError' | 'ResponseTooLargeError', message: string) =>
  Object.assign(new Error(message), { name });

/** Not one that the SDK repeats: the same request has the same response. */
const tooLarge = () => named('ResponseTooLargeError', 'the response has over 16 MB');
