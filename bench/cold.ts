import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { startNode } from './child.ts';
import type { DynamoDBStub, Transport } from './dynamodb-stub.ts';
import { environmentFor } from './environment.ts';
import { requestFor } from './peers/requests.ts';
import { type Section, shown, table, type Verdict } from './report.ts';
import { medianInterval, ratiosOf, rotated, type Spread, spreadOf } from './statistics.ts';
import { type Bundles, TARGETS, type TargetName } from './targets.ts';

/* Cold starts: a process that is started, loads a handler, has it take its first event, and ends. */

export const CONTAINER = fileURLToPath(new URL('container.cjs', import.meta.url));

const NAMES = [
  'bare',
  'webhook',
  'aws-lite',
  'sdk',
  'grammy',
  'lark',
  'bolt',
  'grammy-takes',
  'lark-takes',
  'bolt-takes',
] as const satisfies readonly TargetName[];

export const TRANSPORTS: readonly Transport[] = ['http', 'https'];

/** The first repetitions are the machine's own warm-up. */
const DROPPED = 2;

/** What one process took, in milliseconds. */
interface Cold {
  /** From its start to its end, as seen from outside. */
  readonly wallMs: number;
  /** Of all its threads. */
  readonly cpuMs: number;
  readonly loadMs: number;
  readonly firstMs: number;
}

/** Repetitions in their order, so that those of the same place belong together. */
export type ColdRuns = Readonly<Record<Transport, Readonly<Record<string, readonly Cold[]>>>>;

export interface ColdOptions {
  readonly bundles: Bundles;
  readonly stub: DynamoDBStub;
  readonly certificate: string;
  /** Where the events are written. */
  readonly folder: string;
  readonly repetitions: number;
}

/**
 * Starts every handler over HTTP and over TLS once in each repetition, in an order that moves on by one.
 *
 * @throws {Error} with what a process printed, when it does not answer 200
 */
export async function measureCold(options: ColdOptions): Promise<ColdRuns> {
  const runs: Record<Transport, Record<string, Cold[]>> = { http: {}, https: {} };
  const jobs = TRANSPORTS.flatMap((transport) => NAMES.map((name) => ({ transport, name })));
  for (let i = 0; i < options.repetitions + DROPPED; i++) {
    for (const { transport, name } of rotated(jobs, i)) {
      const cold = await startOnce(options, transport, name, i);
      if (i < DROPPED) continue;
      runs[transport][name] ??= [];
      runs[transport][name].push(cold);
    }
  }
  return runs;
}

async function startOnce(
  { bundles, stub, certificate, folder }: ColdOptions,
  transport: Transport,
  name: TargetName,
  i: number,
): Promise<Cold> {
  const event = join(folder, 'event.json');
  await writeFile(event, JSON.stringify(requestFor(TARGETS[name].peer, i)));
  const env = environmentFor(name, stub.url[transport], folder, certificate);
  const began = performance.now();
  const child = startNode([CONTAINER, bundles[name].file, event], {
    // On Lambda standard output is no file either.
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env,
  });
  let wallMs = 0;
  child.once('exit', () => {
    wallMs = performance.now() - began;
  });
  const [, , stderr, pipe] = child.stdio as Readable[];
  child.stdout?.resume();
  const [printed, messageFrom] = await Promise.all([
    text(stderr as Readable),
    text(pipe as Readable),
    once(child, 'close'),
  ]);
  const { status, body, ...cold } = messageFrom === '' ? {} : JSON.parse(messageFrom);
  if (status !== 200) {
    throw new Error(`${name} answered ${status} over ${transport}: ${body}\n${printed}`);
  }
  return { wallMs, ...cold };
}

/** How many times the wall time of the bare handler each took, by transport. */
export const timesBare = (runs: ColdRuns, transport: Transport): Record<string, Spread> =>
  Object.fromEntries(
    NAMES.map((name) => [name, spreadOf(ratios(runs, transport, name, 'bare', 'wallMs'))]),
  );

const column = (runs: ColdRuns, transport: Transport, name: TargetName, what: keyof Cold) =>
  runs[transport][name]?.map((cold) => cold[what]) ?? [];

const ratios = (
  runs: ColdRuns,
  transport: Transport,
  name: TargetName,
  base: TargetName,
  what: keyof Cold,
) => ratiosOf(column(runs, transport, name, what), column(runs, transport, base, what));

/** A table for each transport, and the webhook beside aws-lite by pairs. */
export function reportCold(runs: ColdRuns): Section {
  const TITLES = { http: 'over HTTP', https: 'over TLS, as on AWS' };
  const tables = TRANSPORTS.map((transport) => {
    const rows = NAMES.map((name) => {
      const spread = (what: keyof Cold) => spreadOf(column(runs, transport, name, what));
      const times = (what: keyof Cold) =>
        spreadOf(ratios(runs, transport, name, 'bare', what)).median.toFixed(2);
      return [
        TARGETS[name].label,
        shown(spread('wallMs'), 0),
        times('wallMs'),
        shown(spread('cpuMs'), 0),
        times('cpuMs'),
        spread('loadMs').median.toFixed(1),
        spread('firstMs').median.toFixed(1),
      ];
    });
    const names = [
      '',
      '>wall, ms',
      '>× bare',
      '>CPU, ms',
      '>× bare',
      '>load, ms',
      '>first event, ms',
    ];
    return `Cold start ${TITLES[transport]}:\n\n${table(names, rows)}`;
  });
  const pairs = TRANSPORTS.map((transport) => {
    const wall = ratios(runs, transport, 'webhook', 'aws-lite', 'wallMs');
    const [low, high] = medianInterval(wall);
    const { median } = spreadOf(wall);
    const percent = [low, high].map((it) => it.toFixed(3)).join('–');
    return { transport, high, words: `${median.toFixed(3)} × (95%: ${percent})` };
  });
  const compared = pairs.map(({ transport, words }) => `${words} ${TITLES[transport]}`).join(', ');
  const times = (transport: Transport) => timesBare(runs, transport).webhook?.median ?? Number.NaN;
  const verdicts: Verdict[] = [
    {
      what: `cold, webhook ≤ 2.3 × bare over HTTP: ${times('http').toFixed(2)} (over TLS ${times('https').toFixed(2)})`,
      holds: times('http') <= 2.3,
    },
    ...pairs.map(({ transport, high, words }) => ({
      what: `cold, webhook below aws-lite ${TITLES[transport]}: ${words}`,
      holds: high < 1,
    })),
  ];
  const note =
    `Medians, with the quartiles in brackets, of ${runs.http.bare?.length ?? 0} repetitions; × bare is the median of the ` +
    `ratios within each. Wall is from the start of the process to its end. Pair by pair the webhook takes ${compared} ` +
    'the wall time of aws-lite. What verifies and parses only asks nothing of DynamoDB.';
  return { markdown: ['### Cold', note, ...tables].join('\n\n'), verdicts };
}
