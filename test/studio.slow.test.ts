import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Browser, BrowserContext, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { launch } from './browser.ts';
import { packaged } from './package.ts';
import { copyProject, type Project, until } from './project.ts';

/* The studio under `npm start`, with the robot of test/robot.ts, in a real browser. */

const WIDE = { width: 1440, height: 900 };
const NARROW = { width: 390, height: 844 };
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

let project: Project;
let browser: Browser;
let site: Server;
/** The requests for the framed pages. */
let visits: { readonly path: string; readonly referrer: string | undefined }[];

let context: BrowserContext;
let page: Page;
/** Errors and warnings of the browser, such as violations of the content security policy. */
let complaints: string[];

const studio = () => `http://127.0.0.1:${project.ports.vvchat}/`;
const siteUrl = () => `http://127.0.0.1:${(site.address() as AddressInfo).port}/`;

beforeAll(async () => {
  visits = [];
  site = createServer(({ url = '', headers }, answer) => {
    visits.push({ path: url, referrer: headers.referer });
    answer.setHeader('Content-Type', 'text/html; charset=utf-8');
    answer.end('<h1>A page</h1><a href="/top" target="_top">Lead away</a>');
  }).listen(0, '127.0.0.1');
  project = await copyProject();
  const running = project.start(['npm', 'start']);
  [browser] = await Promise.all([launch(), running.prints(/Ready in/, 60_000)]);
  expect(running.output()).toContain(`Open ${studio().slice(0, -1)}`);
});
afterAll(async () => {
  await browser?.close();
  await project?.[Symbol.asyncDispose]();
  site?.close();
});

beforeEach(async () => {
  complaints = [];
  page = await open();
});
afterEach(async () => {
  await context.close();
  expect(complaints).toEqual([]);
});

async function open(options: BrowserContextOptions = {}): Promise<Page> {
  await context?.close();
  context = await browser.newContext({ viewport: WIDE, locale: 'zh-CN', ...options });
  return tab();
}

async function tab(): Promise<Page> {
  const it = await context.newPage();
  it.on('pageerror', ({ message }) => complaints.push(message));
  it.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  await it.goto(studio());
  await it.getByRole('log').waitFor();
  return it;
}

let texts = 0;
/** A text that no other test sends. */
const text = () => `第 ${++texts} 句`;

const input = (it = page) => it.getByRole('combobox', { name: '消息' });
const view = (name: string) => page.locator('.views').getByRole('button', { name });
const answers = (to: string, it = page) => it.locator('.line:not(.mine)').filter({ hasText: to });

async function send(words: string): Promise<void> {
  await input().fill(words);
  await input().press('Enter');
}

const exchange = (hasText: string | RegExp) =>
  page.locator('.traffic details').filter({ hasText }).first();

async function add(robot: string): Promise<void> {
  await page.getByRole('combobox', { name: '机器人' }).selectOption({ label: robot });
  await page.getByRole('button', { name: '添加机器人' }).click();
}

/** The newest event of the traffic; the locator stays with it when newer ones come. */
async function newestEvent() {
  const id = await exchange('事件').getAttribute('id');
  return page.locator(`#${id}`);
}

describe('the chat', () => {
  test('completes a robot after @, sends by Enter, and shows the reply', async () => {
    await input().pressSequentially('@');
    const robots = page.getByRole('listbox');
    expect(await robots.getByRole('option').allTextContents()).toEqual(['@小V xds2323']);
    await page.keyboard.press('Enter');
    expect(await input().inputValue()).toBe('@小V ');
    await page.keyboard.type('您好');
    await page.keyboard.press('Enter');
    await page.locator('.line.mine').filter({ hasText: '@小V 您好' }).waitFor();
    await answers('您好').waitFor();
    expect(await answers('您好').locator('.by').textContent()).toMatch(/小V机器人/);
    expect(await input().inputValue()).toBe('');
    expect(await input().evaluate((it) => it === it.ownerDocument.activeElement)).toBe(true);
  });

  test('closes the list of robots by Escape, chooses by arrows, and ignores Enter of an input method', async () => {
    await page.getByRole('button', { name: '读书会' }).click();
    for (const robot of ['小V', 'Echo']) {
      await add(robot);
      await page.locator('.head p').filter({ hasText: robot }).waitFor();
    }
    await input().pressSequentially('@');
    const options = page.getByRole('option');
    expect(await options.count()).toBeGreaterThanOrEqual(2);
    await page.keyboard.press('Escape');
    expect(await page.getByRole('listbox').count()).toBe(0);
    await input().fill('');
    await input().pressSequentially('@');
    await page.keyboard.press('ArrowDown');
    await page.keyboard.press('Tab');
    expect(await input().inputValue()).toBe('@Echo ');
    await input().evaluate((it) =>
      // @ts-expect-error: in the browser there is a KeyboardEvent
      it.dispatchEvent(new KeyboardEvent('keydown', { key: 'Enter', isComposing: true })),
    );
    expect(await input().inputValue()).toBe('@Echo ');
  });

  test('adds a robot to a new group, shows its greeting, and lists it in the memberships', async () => {
    const name = text();
    await page.getByRole('button', { name: '新建群' }).click();
    await page.getByRole('textbox', { name: '群名称' }).fill(name);
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name }).waitFor();
    await add('小七');
    await page.locator('.line').filter({ hasText: 'hello' }).waitFor();
    await page.locator('.note').filter({ hasText: '小明 把 小七 拉进了群' }).waitFor();
    await exchange(/join-group-for-invite.*200.*已回复/).waitFor();
    await page.getByRole('button', { name }).click();
    await exchange(/session-open.*200/).waitFor();
    await view('成员关系').click();
    const row = page.getByRole('row').filter({ hasText: 'xds3345' }).last();
    await row.waitFor();
    expect(await row.textContent()).toMatch(/qiyunxin.*last_opened|qiyunxin/);
    expect(await page.getByRole('link', { name: 'dynamodb-admin' }).getAttribute('href')).toBe(
      `http://127.0.0.1:${project.ports.dynamodbAdmin}`,
    );
  });

  test('notes that a message without a mention is not posted', async () => {
    const words = text();
    await send(words);
    await page
      .locator('.line')
      .filter({ hasText: words })
      .filter({ hasText: 'VVChat 不会推送事件' })
      .waitFor();
  });

  test('needs no mention in a one-to-one chat', async () => {
    await page.getByRole('button', { name: 'Echo' }).first().click();
    const words = text();
    await send(words);
    await answers(words).waitFor();
  });

  test('sends messages of another person', async () => {
    await page.getByRole('combobox', { name: '当前身份' }).selectOption({ label: 'Anna' });
    const words = text();
    await send(`@小V ${words}`);
    await page
      .locator('.line.mine')
      .filter({ hasText: words })
      .filter({ hasText: 'Anna' })
      .waitFor();
    await answers(words).waitFor();
    await page.getByRole('combobox', { name: '当前身份' }).selectOption({ label: '小明' });
    await page
      .locator('.line:not(.mine)')
      .filter({ hasText: `@小V ${words}` })
      .waitFor();
  });
});

describe('the web view', () => {
  test('takes half of the chat, cannot navigate away, sends no referrer, and closes', async () => {
    await send(`@小V open ${siteUrl()}here`);
    const frame = page.frameLocator('iframe');
    await frame.getByRole('heading', { name: 'A page' }).waitFor();
    const heights = await Promise.all(
      ['.webview', '.stage'].map(async (it) => (await page.locator(it).boundingBox())?.height ?? 0),
    );
    expect((heights[0] ?? 0) / (heights[1] ?? 1)).toBeCloseTo(0.5, 2);
    const iframe = page.locator('iframe');
    expect(await iframe.getAttribute('sandbox')).toBe(
      'allow-scripts allow-forms allow-same-origin',
    );
    expect(visits.find(({ path }) => path === '/here')).toEqual({
      path: '/here',
      referrer: undefined,
    });
    await frame.getByRole('link').click();
    await page.getByRole('button', { name: '收起' }).click();
    expect(await iframe.count()).toBe(0);
    expect(visits.some(({ path }) => path === '/top')).toBe(false);
    expect(page.url()).toBe(studio());
    // The browser reports the navigation that it refused.
    expect(complaints.splice(0).join()).toMatch(/allow-top-navigation/);
    await send(`@小V close ${text()}`);
    await page.locator('.webview').waitFor({ state: 'detached' });
  });

  test("is sandboxed more strictly at the studio's own address", async () => {
    await send(`@小V open ${studio()}`);
    await page.locator('iframe').waitFor();
    expect(await page.locator('iframe').getAttribute('sandbox')).toBe('allow-scripts allow-forms');
    await send(`@小V close ${text()}`);
    await page.locator('.webview').waitFor({ state: 'detached' });
    expect(complaints.splice(0).join()).toMatch(/X-Frame-Options|frame-ancestors/);
  });
});

test('a web view that is opened again is reloaded, and shown if it was hidden', async () => {
  const path = '/again';
  const count = () => visits.filter((it) => it.path === path).length;
  await send(`@小V open ${siteUrl()}again`);
  await expect.poll(count).toBe(1);
  await page.getByRole('button', { name: '收起' }).click();
  await send(`@小V open ${siteUrl()}again ${text()}`);
  await expect.poll(count).toBe(2);
  await page.locator('iframe').waitFor();
  await send(`@小V close ${text()}`);
  await page.locator('.webview').waitFor({ state: 'detached' });
});

describe('the traffic', () => {
  test('shows an event, its row, and a repeated event as a duplicate', async () => {
    const words = text();
    await send(`@小V ${words}`);
    await answers(words).waitFor();
    const event = await newestEvent();
    await event.locator('summary').filter({ hasText: '已回复' }).click();
    expect(await event.locator('pre').first().textContent()).toContain(words);
    expect(await event.textContent()).toMatch(/已回复 · 领取 1 次 · 已发送 1 条/);
    const events = page.locator('.traffic details').filter({ hasText: '事件' });
    const before = await events.count();
    await event.getByRole('button', { name: '再次发送' }).click();
    await expect.poll(() => events.count()).toBe(before + 1);
    const again = await newestEvent();
    await again.locator('summary').click();
    await again.locator('pre').filter({ hasText: '"duplicate"' }).waitFor();
    expect(await answers(words).count()).toBe(1);
  });

  test('posts an edited event and shows its validation errors', async () => {
    const words = text();
    await send(`@小V ${words}`);
    await answers(words).waitFor();
    const event = await newestEvent();
    await event.locator('summary').click();
    await event.getByRole('button', { name: '修改后发送' }).click();
    const body = event.getByRole('textbox', { name: '请求正文' });
    await body.fill((await body.inputValue()).replace('"app_id"', '"app"'));
    await event.getByRole('button', { name: '发送', exact: true }).click();
    const refused = exchange(/at.*400/);
    await refused.locator('summary').click();
    expect(await refused.locator('.details').textContent()).toMatch(/^\/data\/robot\/app_id /);
  });
});

test('no deployed function contains code of the studio', async () => {
  const { folder } = await packaged();
  const bundles = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
    /\.[cm]?js$/.test(file),
  );
  expect(bundles).not.toEqual([]);
  for (const file of bundles) {
    expect(readFileSync(join(folder, file), 'utf8'), file).not.toMatch(/preact|hono|studio/i);
  }
});

/** At the beginning of each minute the schedule runs `retry`, which would take the row before the button's run. */
const isBetweenScheduledRuns = async () => {
  const second = new Date().getSeconds();
  return second >= 5 && second < 50;
};

test('a fault of VVChat shows in the traffic, and the retry button recovers from it', async () => {
  await view('故障模拟').click();
  await page.getByRole('radio', { name: /^500/ }).check();
  await page.getByRole('button', { name: '故障模拟：500' }).waitFor();
  const words = text();
  await send(`@小V ${words}`);
  await view('收发记录').click();
  await exchange(/send-text.*500/).waitFor();
  const event = await newestEvent();
  await event.locator('summary').click();
  await event.locator('.details').filter({ hasText: 'VVChat answered 500' }).waitFor();
  expect(await answers(words).count()).toBe(0);
  await view('故障模拟').click();
  await page.getByRole('radio', { name: /^正常/ }).check();
  await until(isBetweenScheduledRuns, 30_000);
  await page.getByRole('button', { name: '立即到期并运行 retry' }).click();
  await answers(words).waitFor();
  await page.getByRole('status').filter({ hasText: '1 条立即到期；retry：1 已回复' }).waitFor();
  await view('收发记录').click();
  await event.filter({ hasText: '已回复 · 领取 2 次' }).waitFor();
});

test('the view beside the chat stays when another chat is opened', async () => {
  await view('成员关系').click();
  await page.getByRole('button', { name: '读书会' }).click();
  await page.getByRole('link', { name: 'dynamodb-admin' }).waitFor();
  expect(await page.locator('.views [aria-current]').allTextContents()).toEqual(['成员关系']);
});

test('a draft survives a visit to another chat, and the focus follows the work', async () => {
  const words = text();
  await input().fill(words);
  await page.getByRole('button', { name: '读书会' }).click();
  expect(await input().inputValue()).toBe('');
  await page.getByRole('button', { name: '周末徒步' }).click();
  expect(await input().inputValue()).toBe(words);
  const focused = () => page.locator(':focus');
  await page.getByRole('button', { name: '新建群' }).click();
  expect(await focused().getAttribute('aria-label')).toBe('群名称');
  await page.keyboard.press('Escape');
  expect(await focused().textContent()).toMatch(/新建群/);
  await send(`@小V ${words}`);
  await answers(words).waitFor();
  const event = await newestEvent();
  await event.locator('summary').click();
  await event.getByRole('button', { name: '修改后发送' }).click();
  expect(await focused().getAttribute('aria-label')).toBe('请求正文');
  await event.getByRole('button', { name: '取消' }).click();
  expect(await focused().textContent()).toBe('修改后发送');
});

test('messages survive a reload and appear in every tab', async () => {
  const words = text();
  const other = await tab();
  await send(`@小V ${words}`);
  await Promise.all([answers(words).waitFor(), answers(words, other).waitFor()]);
  await page.reload();
  await answers(words).waitFor();
});

test("the language is the browser's until it is switched, which survives a reload", async () => {
  await view('收发记录').waitFor();
  page = await open({ locale: 'en-US' });
  await view('Traffic').waitFor();
  expect(await page.locator('html').getAttribute('lang')).toBe('en');
  await page.getByRole('button', { name: '中文' }).click();
  await view('收发记录').waitFor();
  expect(await page.locator('html').getAttribute('lang')).toBe('zh-CN');
  await page.reload();
  await view('收发记录').waitFor();
});

test('a failed action is explained in the current language', async () => {
  await page.route('**/studio/create', (route) =>
    route.fulfill({ status: 409, json: { code: 'too-many-chats', error: 'x' } }),
  );
  await page.getByRole('button', { name: '新建群' }).click();
  await page.getByRole('textbox', { name: '群名称' }).fill(text());
  await page.keyboard.press('Enter');
  const notice = page.locator('.notices');
  await notice.filter({ hasText: '会话太多了。' }).waitFor();
  await page.getByRole('button', { name: 'English' }).click();
  await notice.filter({ hasText: 'There are too many chats.' }).waitFor();
  // The browser reports the status.
  expect(complaints.splice(0).join()).toMatch(/409/);
});

test('a narrow window does not overflow, with any fault, long ids and either language', async () => {
  const open_id = 'x'.repeat(256);
  await fetch(`http://127.0.0.1:${project.ports.http}/vvchat/events?token=local`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      event: 'at',
      version: 'v1',
      data: {
        content: { text: 'long' },
        robot: { app_id: 'test', open_id, robot_no: 'n'.repeat(256) },
        session: { session_open_id: 's'.repeat(256), session_type: '1' },
        trigger: { open_id, target: 'user' },
      },
    }),
  });
  for (const locale of ['zh-CN', 'en']) {
    page = await open({ viewport: NARROW, locale });
    const buttons = page.locator('.views button');
    const width = () => page.locator('html').evaluate((it) => it.scrollWidth);
    for (const fault of [5, 2, 0]) {
      await buttons.nth(4).click();
      await page.getByRole('radio').nth(fault).check();
      await page.getByRole('combobox', { name: /当前身份|You are/ }).waitFor();
      for (let i = 0; i < 5; i++) {
        await buttons.nth(i).click();
        expect(await width(), `${locale} ${fault} ${i}`).toBeLessThanOrEqual(NARROW.width);
      }
    }
  }
});

test('a wide window shows all views, and a narrow one a view at a time', async () => {
  const parts = ['.chats', '.conversation', '.inspector'];
  const visible = async () => {
    const shown = await Promise.all(parts.map((it) => page.locator(it).isVisible()));
    return parts.filter((_, i) => shown[i]);
  };
  expect(await visible()).toEqual(parts);
  await page.setViewportSize(NARROW);
  for (const [name, part] of [
    ['会话', '.chats'],
    ['聊天', '.conversation'],
    ['收发记录', '.inspector'],
    ['成员关系', '.inspector'],
    ['故障模拟', '.inspector'],
  ] as const) {
    await view(name).click();
    expect(await visible()).toEqual([part]);
    const width = await page.locator('html').evaluate((it) => it.scrollWidth);
    expect(width).toBeLessThanOrEqual(NARROW.width);
  }
  await view('聊天').click();
  await expect(input().boundingBox()).resolves.toMatchObject({ width: expect.any(Number) });
  const box = await input().boundingBox();
  expect((box?.y ?? 0) + (box?.height ?? 0)).toBeLessThan(NARROW.height);
  const words = text();
  await send(`@小V ${words}`);
  await answers(words).waitFor();
});

describe.each([
  ['wide and light', { viewport: WIDE, colorScheme: 'light' }],
  ['wide and dark', { viewport: WIDE, colorScheme: 'dark', locale: 'en' }],
  ['narrow and light', { viewport: NARROW, colorScheme: 'light', locale: 'en' }],
  ['narrow and dark', { viewport: NARROW, colorScheme: 'dark' }],
] as const)('%s', (_, options) => {
  test('has no serious accessibility violation in any view', async () => {
    page = await open(options);
    const composer = page.locator('.composer input').first();
    await composer.fill(`@小V ${text()}`);
    await composer.press('Enter');
    await page.locator('.line.mine').last().waitFor();
    await composer.pressSequentially('@');
    await page.getByRole('listbox').waitFor();
    expect(await serious()).toEqual([]);
    const buttons = page.locator('.views button:visible');
    for (let i = 0; i < (await buttons.count()); i++) {
      await buttons.nth(i).click();
      const summary = page.locator('.traffic summary').first();
      if (await summary.isVisible()) await summary.click();
      expect(await serious()).toEqual([]);
    }
  });

  async function serious(): Promise<string[]> {
    await page.evaluate(AXE);
    return page.evaluate(async () => {
      // biome-ignore lint/suspicious/noExplicitAny: axe puts itself there
      const { violations } = await (globalThis as any).axe.run();
      return violations
        .filter(({ impact }: { impact: string }) => ['serious', 'critical'].includes(impact))
        .map(
          ({ id, nodes }: { id: string; nodes: { html: string }[] }) =>
            `${id}: ${nodes.map(({ html }) => html).join(' ')}`,
        );
    });
  }
});
