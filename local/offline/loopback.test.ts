import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { expect, test } from 'vitest';
import './loopback.ts';
import { isOwn } from './loopback.ts';

test.each([
  { host: '127.0.0.1:3000' },
  { host: 'localhost:3000' },
  { host: '[::1]:3000' },
  { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:3000' },
  { host: '127.0.0.1:3000', 'sec-fetch-site': 'same-origin' },
  { host: '127.0.0.1:3000', 'sec-fetch-site': 'none', 'sec-fetch-mode': 'navigate' },
  // A link on another site.
  { host: '127.0.0.1:3000', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' },
])('allows %j', (headers) => {
  expect(isOwn(headers)).toBe(true);
});

test.each([
  {},
  { host: '' },
  { host: 'a b' },
  { host: 'evil.example' },
  { host: '127.0.0.1.evil.example' },
  { host: 'evil.example#127.0.0.1' },
  { host: '127.0.0.1:3000', origin: 'null' },
  { host: '127.0.0.1:3000', origin: '' },
  { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:4000' },
  { host: '127.0.0.1:3000', origin: 'https://127.0.0.1:3000' },
  { host: '127.0.0.1:3000', origin: 'http://127.0.0.1:3000.evil.example' },
  // An image or a script of a page has no Origin.
  { host: '127.0.0.1:3000', 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
  { host: '127.0.0.1:3000', 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' },
])('refuses %j', (headers) => {
  expect(isOwn(headers)).toBe(false);
});

test('every server of the process is guarded, also for upgrades', async () => {
  const upgraded: string[] = [];
  await using server = createServer((_, answer) => answer.end('hello'));
  server.on('upgrade', (request, socket) => {
    upgraded.push(`${request.headers.host}`);
    socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;

  const own = await fetch(`http://127.0.0.1:${port}`);
  expect([own.status, await own.text()]).toEqual([200, 'hello']);
  const foreign = await fetch(`http://127.0.0.1:${port}`, {
    headers: { Origin: 'https://evil.example' },
  });
  expect(foreign.status).toBe(403);
  expect(await foreign.text()).toMatch(/^Only this machine/);

  const upgrade = async (host: string) => {
    const socket = connect(port, '127.0.0.1');
    socket.write(`GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n`);
    const chunks = await Array.fromAsync(socket).catch(() => []);
    return Buffer.concat(chunks).toString();
  };
  expect(await upgrade(`127.0.0.1:${port}`)).toMatch(/^HTTP\/1\.1 101/);
  expect(await upgrade('evil.example')).toMatch(/^HTTP\/1\.1 403/);
  expect(upgraded).toEqual([`127.0.0.1:${port}`]);
});
