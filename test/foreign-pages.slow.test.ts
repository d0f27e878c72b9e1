import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PutItemCommand, ScanCommand } from '@aws-sdk/client-dynamodb';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nameOf } from '../local/names.ts';
import type { ServerName } from '../local/ports.ts';
import { launch } from './browser.ts';
import { npmStart, type Running } from './npm-start.ts';

/*
 * Pages of other websites against the servers of npm start, in Chromium. 127.0.0.1 with another port is another
 * origin of the same site; localhost is another site.
 */

let running: Running;
let browser: Browser;
let site: Awaited<ReturnType<typeof startSite>>;

beforeAll(async () => {
  [running, browser, site] = await Promise.all([
    npmStart(),
    launch(['--host-resolver-rules=MAP evil.example 127.0.0.1']),
    startSite(),
  ]);
}, 120_000);
afterAll(async () => {
  await browser?.close();
  await running?.[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
});

/** A website that shows the HTML of its address's fragment-free query. */
async function startSite() {
  const show: RequestListener = ({ url = '' }, response) => {
    const html = new URL(url, 'http://site').searchParams.get('html') ?? '';
    response.setHeader('Content-Type', 'text/html');
    response.end(`<!doctype html><meta charset="utf-8">${html}`);
  };
  const server = createServer(show).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    pages: [`http://127.0.0.1:${port}/`, `http://localhost:${port}/`],
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

/** What each server has that a foreign page would want. */
const PATHS = {
  dynamodb: '/',
  dynamodbAdmin: '/api/tables',
  vvchat: '/studio/main.js',
  http: '/vvchat/events?token=local',
  lambda: '/2015-03-31/functions/vvchat-robot-local-retry/invocations',
} as const satisfies Record<ServerName, string>;
const SERVERS = Object.keys(PATHS) as ServerName[];
const ROBOT_API = '/robotapi/v1/token?app_id=test&app_key=123456';
const urlOf = (server: ServerName, path: string = PATHS[server]) => `${running.url(server)}${path}`;
const targets = () => [...SERVERS.map((it) => urlOf(it)), urlOf('vvchat', ROBOT_API)];

const ATTACKS: Record<string, (url: string) => string> = {
  'a navigation': (url) => `<script>location = '${url}'</script>`,
  'a navigation without a referrer': (url) =>
    `<meta name="referrer" content="no-referrer"><script>location = '${url}'</script>`,
  'a frame': (url) => `<iframe src="${url}"></iframe>`,
  'an object': (url) => `<object data="${url}"></object>`,
  'a form': (url) =>
    `<form method="post" enctype="text/plain" action="${url}"><input name="{}" value=""></form><script>document.forms[0].submit()</script>`,
  'a sandboxed form': (url) =>
    `<iframe sandbox="allow-scripts allow-forms" srcdoc="<form method=post action='${url}'></form><script>document.forms[0].submit()</script>"></iframe>`,
  'an image': (url) => `<img src="${url}">`,
  'a script': (url) => `<script src="${url}"></script>`,
  'a request': (url) =>
    `<script>fetch('${url}', { method: 'POST', mode: 'no-cors', body: '{}' })</script>`,
};

/** A refusal takes milliseconds. */
const SILENCE_MS = 3_000;

/** Opens a page that attacks an address; resolves to the status of the answer, or to what came of it instead. */
async function attack(page: Page, origin: string, html: string, url: string) {
  const predicate = (it: { url(): string }) => it.url() === url;
  const options = { predicate, timeout: SILENCE_MS };
  const outcome = Promise.any([
    page.waitForEvent('response', options).then((it) => it.status()),
    page.waitForEvent('download', options).then(() => 'download'),
    page.waitForEvent('requestfailed', options).then((it) => it.failure()?.errorText),
  ]).catch(() => 'silence');
  // The attack may navigate away before the page has loaded.
  page.goto(`${origin}?html=${encodeURIComponent(html)}`).catch(() => {});
  return outcome;
}

async function withPage<T>(work: (page: Page) => Promise<T>): Promise<T> {
  const context = await browser.newContext();
  try {
    return await work(await context.newPage());
  } finally {
    await context.close();
  }
}

describe.each(Object.entries(ATTACKS))('%s of another origin', (name, htmlFor) => {
  test('reaches no local server', async () => {
    const outcomes: string[] = [];
    for (const url of targets()) {
      for (const origin of site.pages) {
        const status = await withPage((page) => attack(page, origin, htmlFor(url), url));
        if (process.env.SHOW_ATTACKS)
          process.stderr.write(`${Date.now() % 1e6} ${status} ${url}\n`);
        outcomes.push(`${status} ${new URL(origin).hostname} ${new URL(url).pathname}`);
      }
    }
    if (process.env.SHOW_ATTACKS) console.log(name, outcomes);
    expect(outcomes.filter((it) => !/^403 |^net::ERR_BLOCKED/.test(it))).toEqual([]);
  });
});

test("another origin's link leads to the studio's page, but frames it nowhere", async () => {
  for (const origin of site.pages) {
    const url = urlOf('vvchat', '/');
    expect(
      await withPage((page) => attack(page, origin, ATTACKS['a navigation']?.(url) ?? '', url)),
    ).toBe(200);
    expect(
      await withPage((page) => attack(page, origin, ATTACKS['a frame']?.(url) ?? '', url)),
    ).toBe(403);
  }
});

test('a name that an attacker has pointed at this machine reaches nothing', async () => {
  for (const url of [...targets(), urlOf('vvchat', '/')]) {
    const rebound = url.replace('127.0.0.1', 'evil.example');
    const response = await withPage((page) => page.goto(rebound));
    expect([rebound, response?.status()]).toEqual([rebound, 403]);
  }
});

/** dynamodb-admin shows an error that quotes the query, as HTML. */
const scriptIn = (script: string) =>
  `/tables/${nameOf('inbox')}?queryableSelection=${encodeURIComponent(`<img src=x onerror="${script}">`)}`;
const PURGE = `fetch('/tables-purge',{method:'DELETE'}).then(()=>{document.title='purged'})`;

test('no link of another origin runs a script in dynamodb-admin, and the tables stay as they are', async () => {
  await running.client.send(
    new PutItemCommand({
      TableName: nameOf('tokens'),
      Item: { app_id: { S: 'kept' } },
    }),
  );
  const url = urlOf('dynamodbAdmin', scriptIn(PURGE));
  const statuses = [];
  for (const origin of site.pages) {
    statuses.push(
      await withPage((page) =>
        attack(
          page,
          origin,
          `<a href='${url.replaceAll("'", '&#39;')}'>x</a><script>document.links[0].click()</script>`,
          url,
        ),
      ),
    );
  }
  // Without the guard, this is how long the page takes to purge.
  const isKept = async () =>
    (await running.client.send(new ScanCommand({ TableName: nameOf('tokens') }))).Count === 1;
  expect([statuses, await isKept()]).toEqual([[403, 403], true]);
});
