import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { startDynamoDBLocal } from '../test/dynamodb-local.ts';
import { packaged } from '../test/package.ts';
import { chart } from './chart.ts';
import { type ColdRuns, measureCold, reportCold, timesBare } from './cold.ts';
import { startDynamoDBStub } from './dynamodb-stub.ts';
import { measureLatency, reportLatency } from './latency.ts';
import { type Section, withFigures } from './report.ts';
import { reportSize } from './size.ts';
import { bundleAll, isOwn, TARGETS, type TargetName } from './targets.ts';
import { measureUnits, reportUnits } from './units.ts';
import { measureWarm, reportWarm } from './warm.ts';

/*
 * `npm run bench`: how long a cold start takes, what an event costs of CPU and of DynamoDB's units, how large the
 * bundles are, and how soon an answer comes, beside the same job done by other people's libraries. Everything is
 * on 127.0.0.1. With --write the figures of docs/performance.md are replaced.
 */

const PARTS = ['cold', 'warm', 'size', 'units', 'latency'] as const;
type Part = (typeof PARTS)[number];

const { values } = parseArgs({
  options: {
    cold: { type: 'string', default: '100' },
    warm: { type: 'string', default: '20' },
    events: { type: 'string', default: '500' },
    only: { type: 'string', default: PARTS.join(',') },
    write: { type: 'boolean', default: false },
  },
});
const ONLY = new Set(values.only.split(','));
const isWanted = (part: Part) => ONLY.has(part);

const PEERS = fileURLToPath(new URL('peers/', import.meta.url));
const DOCUMENT = fileURLToPath(new URL('../docs/performance.md', import.meta.url));
const CHART = fileURLToPath(new URL('../docs/performance.svg', import.meta.url));

/** What is wrong with the options, if anything. */
function faultOfOptions(): string | undefined {
  const unknown = [...ONLY].filter((it) => !PARTS.includes(it as Part));
  if (unknown.length > 0) return `--only takes ${PARTS.join(',')}, not ${unknown}.`;
  for (const name of ['cold', 'warm', 'events'] as const) {
    if (!/^[1-9]\d{0,5}$/.test(values[name])) return `--${name} takes a number from 1.`;
  }
  const isPartial = values.write && ONLY.size < PARTS.length;
  return isPartial ? '--write writes all figures of one run: leave --only away.' : undefined;
}

/** Installs the peers unless they are there, and checks their types, which no other check covers. */
async function preparePeers(): Promise<void> {
  const run = async (command: string, ...args: string[]) => {
    const [code] = await once(spawn(command, args, { cwd: PEERS, stdio: 'inherit' }), 'exit');
    if (code !== 0) throw new Error(`${command} ${args.join(' ')} in ${PEERS} ended with ${code}.`);
  };
  if (!existsSync(join(PEERS, 'node_modules'))) await run('npm', 'ci');
  await run('npx', 'tsc', '-p', '.');
}

const began = performance.now();

function progress(words: string): void {
  console.error(`${Math.round((performance.now() - began) / 1_000)} s: ${words}`);
}

/** What runs on the stub of DynamoDB, and the sizes of what runs. */
async function measureHandlers(folder: string): Promise<{ sections: Section[]; runs?: ColdRuns }> {
  const sections: Section[] = [];
  progress('bundling');
  const bundles = await bundleAll(folder);
  await using stub = await startDynamoDBStub();
  const certificate = join(folder, 'certificate.pem');
  await writeFile(certificate, stub.certificate);
  let runs: ColdRuns | undefined;
  if (isWanted('cold')) {
    progress('cold starts');
    const repetitions = Number(values.cold);
    runs = await measureCold({ bundles, stub, certificate, folder, repetitions });
    sections.push(reportCold(runs));
  }
  if (isWanted('warm')) {
    progress('warm containers');
    const rounds = Number(values.warm);
    const url = stub.url.http;
    const warm = await measureWarm({ bundles, url, certificate, home: folder, rounds });
    sections.push(reportWarm(warm));
  }
  if (isWanted('size')) sections.push(await reportSize(bundles, folder));
  return { sections, ...(runs && { runs }) };
}

/** What runs on DynamoDB Local, with the functions as they are packaged. */
async function measureDeployed(): Promise<Section[]> {
  const sections: Section[] = [];
  progress('packaging');
  const given = process.env.PACKAGE_FOLDER;
  const { folder } = await packaged();
  process.env.PACKAGE_FOLDER = folder;
  if (given === undefined) process.once('exit', () => rmSync(folder, { recursive: true }));
  await using engine = await startDynamoDBLocal();
  if (isWanted('units')) {
    progress('capacity units');
    sections.push(reportUnits(await measureUnits(engine.endpoint)));
  }
  if (isWanted('latency')) {
    progress('latency');
    sections.push(reportLatency(await measureLatency(engine.endpoint, Number(values.events))));
  }
  return sections;
}

const machine = () => {
  const [{ model } = { model: 'unknown' }] = cpus();
  const day = new Date().toISOString().slice(0, 10);
  return `${model.trim()}, ${availableParallelism()} cores, Node ${process.versions.node}, ${day}`;
};

function drawn(runs: ColdRuns): string {
  const [tls, http] = [timesBare(runs, 'https'), timesBare(runs, 'http')];
  const names = Object.keys(tls).filter((name) => name !== 'bare') as TargetName[];
  const bars = names.map((name) => ({
    label: TARGETS[name].label,
    isOurs: isOwn(TARGETS[name]),
    tls: tls[name] as NonNullable<(typeof tls)[string]>,
    http: http[name] as NonNullable<(typeof http)[string]>,
  }));
  return chart(bars, `Wall time of the process; medians. ${machine()}.`);
}

async function write(figures: string, runs: ColdRuns): Promise<void> {
  if (!existsSync(DOCUMENT)) {
    console.error('There is no docs/performance.md to write to.');
    return;
  }
  await writeFile(DOCUMENT, withFigures(await readFile(DOCUMENT, 'utf8'), figures));
  await writeFile(CHART, drawn(runs));
}

async function bench(): Promise<void> {
  await preparePeers();
  const folder = mkdtempSync(join(tmpdir(), 'vvchat-robot-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const sections: Section[] = [];
  let runs: ColdRuns | undefined;
  if (isWanted('cold') || isWanted('warm') || isWanted('size')) {
    const measured = await measureHandlers(folder);
    sections.push(...measured.sections);
    runs = measured.runs;
  }
  if (isWanted('units') || isWanted('latency')) sections.push(...(await measureDeployed()));
  progress('over');
  const figures = [`${machine()}.`, ...sections.map(({ markdown }) => markdown)].join('\n\n');
  console.log(`\n${figures}\n`);
  const verdicts = sections.flatMap((section) => section.verdicts);
  for (const { what, holds } of verdicts) console.log(`${holds ? 'holds   ' : 'MISSED  '} ${what}`);
  if (verdicts.some(({ holds, isRule }) => isRule && !holds)) process.exitCode = 1;
  if (values.write && runs) await write(figures, runs);
}

for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(1));
const fault = faultOfOptions();
if (fault === undefined) await bench();
else {
  console.error(fault);
  process.exitCode = 1;
}
