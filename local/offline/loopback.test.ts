import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { admit, isAllowed } from './loopback.ts';

const NO_FRAMES = {
  'X-Frame-Options': 'DENY',
  'Content-Security-Policy': "frame-ancestors 'none'",
};

const host = '127.0.0.1:3000';
const navigation = (site: string) => ({
  host,
  accept: 'text/html,application/xhtml+xml',
  'sec-fetch-site': site,
  'sec-fetch-mode': 'navigate',
  'sec-fetch-dest': 'document',
});

test.each([
  { host },
  { host: 'localhost:3000' },
  { host: '[::1]:3000' },
  { host, accept: '*/*' },
  { host, origin: 'http://127.0.0.1:3000' },
  { host, 'sec-fetch-site': 'same-origin' },
  navigation('none'),
  navigation('same-origin'),
  // Browsers without Fetch Metadata.
  { host, accept: 'text/html', referer: 'http://127.0.0.1:3000/tables' },
  { host, accept: 'image/png', referer: 'http://127.0.0.1:3000/' },
])('allows %j', (headers) => {
  expect(isAllowed({ method: 'GET', url: '/', headers })).toBe(true);
});

test.each([
  {},
  { host: '' },
  { host: 'a b' },
  { host: 'evil.example' },
  { host: '127.0.0.1.evil.example' },
  { host: 'evil.example#127.0.0.1' },
  { host, origin: 'null' },
  { host, origin: '' },
  { host, origin: 'http://127.0.0.1:4000' },
  { host, origin: 'https://127.0.0.1:3000' },
  { host, origin: 'http://127.0.0.1:3000.evil.example' },
  navigation('cross-site'),
  navigation('same-site'),
  { ...navigation('same-origin'), 'sec-fetch-dest': 'iframe' },
  { ...navigation('none'), 'sec-fetch-dest': 'object' },
  // An image or a script of a page has no Origin.
  { host, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' },
  { host, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' },
  // Browsers without Fetch Metadata.
  { host, accept: 'text/html,application/xhtml+xml' },
  { host, accept: 'text/html', referer: 'http://127.0.0.1:4000/' },
  { host, accept: 'image/png', referer: 'https://evil.example/' },
  { host, referer: 'not an address' },
])('refuses %j', (headers) => {
  expect(isAllowed({ method: 'GET', url: '/', headers })).toBe(false);
});

describe('a path that any website may link to', () => {
  const admission = { linkable: ['/'] };
  const link = { method: 'GET', url: '/?a=b', headers: navigation('cross-site') };

  test('answers to links, also of browsers without Fetch Metadata', () => {
    expect(isAllowed(link, admission)).toBe(true);
    expect(isAllowed({ ...link, headers: { host, accept: 'text/html' } }, admission)).toBe(true);
  });

  test.each([
    { ...link, url: '/studio/changes' },
    { ...link, url: '//' },
    { ...link, method: 'POST' },
    { ...link, headers: { ...link.headers, host: 'evil.example' } },
    { ...link, headers: { ...link.headers, origin: 'null' } },
    { ...link, headers: { ...link.headers, 'sec-fetch-dest': 'iframe' } },
    { ...link, headers: { ...link.headers, 'sec-fetch-mode': 'no-cors' } },
    { ...link, headers: { host, accept: 'image/png', referer: 'https://evil.example/' } },
  ])('does not answer to %j', (request) => {
    expect(isAllowed(request, admission)).toBe(false);
  });
});

describe('a server to which the pages of another local one may link', () => {
  const admission = { linkedFromPort: 4000 };
  const linkFrom = (referer?: string, site = 'same-site') => ({
    method: 'GET',
    url: '/tables',
    headers: { ...navigation(site), ...(referer !== undefined && { referer }) },
  });

  test('answers to their links', () => {
    expect(isAllowed(linkFrom('http://127.0.0.1:4000/'), admission)).toBe(true);
    expect(isAllowed(linkFrom('http://localhost:4000/', 'cross-site'), admission)).toBe(true);
  });

  test.each([
    undefined,
    'http://127.0.0.1:4001/',
    'http://127.0.0.1:40000/',
    'https://127.0.0.1:4000/',
    'http://evil.example:4000/',
    'http://127.0.0.1:4000@evil.example/',
  ])('does not answer to a link of %s', (referer) => {
    expect(isAllowed(linkFrom(referer), admission)).toBe(false);
  });
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
  for (const [name, value] of Object.entries(NO_FRAMES)) {
    expect(own.headers.get(name)).toBe(value);
  }
  const foreign = await fetch(`http://127.0.0.1:${port}`, {
    headers: { Origin: 'https://evil.example' },
  });
  expect(foreign.status).toBe(403);
  expect(await foreign.text()).toMatch(/^Only programs and pages of this machine/);

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

test('a server has a policy of its own, besides that nothing may frame its answers', async () => {
  await using server = createServer((_, answer) => answer.end());
  admit(server, { contentSecurityPolicy: "default-src 'self'" });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { headers } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  expect(headers.get('Content-Security-Policy')).toBe("frame-ancestors 'none'; default-src 'self'");
});
