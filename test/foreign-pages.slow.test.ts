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

const formTo = (url: string) =>
  `<form method="post" enctype="text/plain" action="${url}"><input name="{}" value=""></form><script>document.forms[0].submit()</script>`;

const ATTACKS: Record<string, (url: string) => string> = {
  'a navigation': (url) => `<script>location = '${url}'</script>`,
  'a navigation without a referrer': (url) =>
    `<meta name="referrer" content="no-referrer"><script>location = '${url}'</script>`,
  'a frame': (url) => `<iframe src="${url}"></iframe>`,
  'an object': (url) => `<object data="${url}"></object>`,
  'a form': (url) => formTo(url),
  'a sandboxed form': (url) =>
    `<iframe sandbox="allow-scripts allow-forms" src="/?html=${encodeURIComponent(formTo(url))}"></iframe>`,
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
  `/tables/${nameOf('inbox')}?queryableSelection=${encodeURIComponent(`<img src=x onerror="${script}">`).replaceAll("'", '%27')}`;
const PURGE = `fetch('/tables-purge',{method:'DELETE'}).then(()=>{document.title='purged'})`;

test('no link of another origin runs a script in dynamodb-admin, and the tables stay as they are', async () => {
  const TableName = nameOf('tokens');
  await running.client.send(new PutItemCommand({ TableName, Item: { app_id: { S: 'kept' } } }));
  const url = urlOf('dynamodbAdmin', scriptIn(PURGE));
  const link = `<a href="${url}">x</a><script>document.links[0].click()</script>`;
  const outcomes: unknown[] = [];
  for (const origin of site.pages) {
    outcomes.push(
      await withPage(async (page) => {
        const status = await attack(page, origin, link, url);
        if (status === 403) return status;
        await page.waitForFunction("document.title === 'purged'");
        return 'purged';
      }),
    );
  }
  const { Count } = await running.client.send(new ScanCommand({ TableName }));
  expect([outcomes, Count]).toEqual([[403, 403], 1]);
});

test("the studio's own link leads to dynamodb-admin, which works", async () => {
  const status = await withPage(async (page) => {
    await page.goto(urlOf('vvchat', '/'));
    await page.getByRole('button', { name: 'Memberships' }).click();
    const opened = page.waitForEvent('popup');
    await page.getByRole('link', { name: 'dynamodb-admin' }).click();
    const admin = await opened;
    const table = admin.getByRole('link', { name: nameOf('inbox'), exact: true });
    const answered = admin.waitForResponse(/\/items$/);
    await table.click();
    return (await answered).status();
  });
  expect(status).toBe(200);
});
