import { once } from 'node:events';
import {
  createServer as createHttpServer,
  request as httpRequest,
  type RequestListener,
  type Server,
} from 'node:http';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { generate } from 'selfsigned';
import type { Listening } from '../dynamodb-stub.ts';

/*
 * The process behind bench/dynamodb-stub.ts. It warms up with requests to itself before it reports its address.
 */

const WARM_UP = 200;
/** Longer than a container is idle between its turns. */
const KEEP_ALIVE_MS = 600_000;

const answer: RequestListener = (request, response) => {
  request.resume().once('end', () => {
    response.writeHead(200, {
      'Content-Type': 'application/x-amz-json-1.0',
      'Content-Length': '2',
      'x-amzn-RequestId': 'BENCH',
    });
    response.end('{}');
  });
};

const altNames = [{ type: 7 as const, ip: '127.0.0.1' }];
const { private: key, cert } = await generate([{ name: 'commonName', value: '127.0.0.1' }], {
  keySize: 2_048,
  algorithm: 'sha256',
  extensions: [
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'subjectAltName', altNames },
  ],
});

async function listen(server: Server): Promise<number> {
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

async function warmUp(send: typeof httpRequest, url: string): Promise<void> {
  for (let i = 0; i < WARM_UP; i++) {
    const request = send(url, { method: 'POST', ca: cert, agent: false } as object);
    request.end(JSON.stringify({ TableName: 'bench', padding: 'x'.repeat(500) }));
    const [response] = await once(request, 'response');
    await text(response);
  }
}

const ports = {
  http: await listen(createHttpServer(answer)),
  https: await listen(createHttpsServer({ key, cert }, answer)),
};
const url = { http: `http://127.0.0.1:${ports.http}`, https: `https://127.0.0.1:${ports.https}` };
await warmUp(httpRequest, url.http);
await warmUp(httpsRequest, url.https);
process.send?.({ url, certificate: cert } satisfies Listening);
process.once('disconnect', () => process.exit());
