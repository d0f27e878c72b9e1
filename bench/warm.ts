import type { ChildProcess } from 'node:child_process';
import { sample } from '../test/fixtures.ts';
import { end, messageFrom, printedBy, startNode } from './child.ts';
import { CONTAINER } from './cold.ts';
import { environmentFor } from './environment.ts';
import { requestFor } from './peers/requests.ts';
import { type Section, shown, table } from './report.ts';
import { ratiosOf, rotated, spreadOf } from './statistics.ts';
import { type Bundles, TARGETS, type TargetName } from './targets.ts';

/* Warm containers: what an event takes of the CPU once a process has taken many. */

const WARM_UP = 500;
const SLICE = 300;

interface Job {
  readonly label: string;
  readonly target: TargetName;
  readonly eventOf: (i: number) => unknown;
}

const takes = (target: TargetName, label: string = TARGETS[target].label): Job => ({
  label,
  target,
  eventOf: (i) => requestFor(TARGETS[target].peer, i),
});

const OPENED = 'vvchat-robot, session-open';

const JOBS: readonly Job[] = [
  takes('write'),
  {
    label: OPENED,
    target: 'webhook',
    eventOf: (i) => ({ ...requestFor('ours', i), body: sample('session-open').body }),
  },
  takes('writes'),
  takes('webhook', 'vvchat-robot, at'),
  takes('aws-lite'),
  takes('sdk'),
  takes('grammy-takes'),
  takes('lark-takes'),
  takes('bolt-takes'),
];

/** What one event took in one round. */
interface Warm {
  readonly cpuMs: number;
  readonly perSecond: number;
}

/** By the job's label; rounds in their order. */
export type WarmRuns = ReadonlyMap<string, readonly Warm[]>;

export interface WarmOptions {
  readonly bundles: Bundles;
  /** Of DynamoDB. */
  readonly url: string;
  readonly certificate: string;
  readonly home: string;
  readonly rounds: number;
}

/**
 * Has every container take the same number of events one after the other in each round, while the others stand
 * idle, in an order that moves on by one.
 *
 * @throws {Error} with what a container printed, when it does not answer 200
 */
export async function measureWarm(options: WarmOptions): Promise<WarmRuns> {
  await using stack = new AsyncDisposableStack();
  const containers: { readonly job: Job; readonly take: Take }[] = [];
  for (const job of JOBS) {
    const { child, take } = await startContainer(options, job.target);
    stack.defer(() => end(child));
    containers.push({ job, take });
  }
  let next = 0;
  const eventsFor = ({ eventOf }: Job, count: number) =>
    Array.from({ length: count }, () => eventOf(next++));
  for (const { job, take } of containers) await take(eventsFor(job, WARM_UP));
  const runs = new Map<string, Warm[]>(JOBS.map(({ label }) => [label, []]));
  for (let round = 0; round < options.rounds; round++) {
    for (const { job, take } of rotated(containers, round)) {
      const { cpuMs, wallMs } = await take(eventsFor(job, SLICE));
      runs.get(job.label)?.push({ cpuMs: cpuMs / SLICE, perSecond: (SLICE / wallMs) * 1_000 });
    }
  }
  return runs;
}

interface Taken {
  readonly cpuMs: number;
  readonly wallMs: number;
}

type Take = (events: readonly unknown[]) => Promise<Taken>;

async function startContainer(
  { bundles, url, certificate, home }: WarmOptions,
  name: TargetName,
): Promise<{ child: ChildProcess; take: Take }> {
  const child = startNode([CONTAINER, bundles[name].file], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    env: environmentFor(name, url, home, certificate),
  });
  child.stdout?.resume();
  const printed = printedBy({ stderr: child.stderr });
  await messageFrom(child, printed);
  const take: Take = async (events) => {
    child.send([...events]);
    return messageFrom<Taken>(child, printed);
  };
  return { child, take };
}

/** What an event takes of the CPU, and how many times one write by AWS's SDK that is. */
export function reportWarm(runs: WarmRuns): Section {
  const cpuOf = (label: string) => runs.get(label)?.map(({ cpuMs }) => cpuMs) ?? [];
  const times = (label: string) => spreadOf(ratiosOf(cpuOf(label), cpuOf(TARGETS.write.label)));
  const rows = [...runs].map(([label, rounds]) => {
    const cpu = spreadOf(cpuOf(label));
    return [
      label,
      shown(cpu, 3),
      shown(times(label), 2),
      `${Math.round(1_000 / cpu.median)}`,
      shown(spreadOf(rounds.map(({ perSecond }) => perSecond)), 0),
    ];
  });
  const opened = times(OPENED).median;
  const note =
    `CPU of the whole process for an event, over HTTP: medians, with the quartiles in brackets, of ` +
    `${cpuOf(OPENED).length} rounds of ${SLICE} events each, one after the other, after ${WARM_UP} to warm up. What one ` +
    'core makes in a second is 1000 ms by the median; as measured, an event waits for the answers of the stub.';
  const names = ['', '>CPU, ms', '>× one write', '>a second on one core', '>a second as measured'];
  return {
    markdown: ['### Warm', note, table(names, rows)].join('\n\n'),
    verdicts: [
      {
        what: `warm, session-open ≤ 1.25 × one write: ${opened.toFixed(2)}`,
        holds: opened <= 1.25,
      },
    ],
  };
}
