import { join } from 'node:path';
import { type Bundle, bundled } from './bundling.ts';
import type { Peer } from './peers/requests.ts';

/** A handler to measure. */
export interface Target {
  /** What the report calls it. */
  readonly label: string;
  /** Who signs the requests that it gets. */
  readonly peer: Peer;
  /** A path from the project's folder. */
  readonly entryPoint: string;
  /** Whether a bot of another platform records the message as the webhook does, or only takes it. */
  readonly records?: 'yes' | 'no';
}

const peer = (name: Peer, label: string, records?: 'yes' | 'no'): Target => ({
  label,
  peer: name,
  entryPoint: `bench/peers/${name}.ts`,
  ...(records && { records }),
});

/** All handlers; those that are ours are in functions/. */
export const TARGETS = {
  bare: peer('bare', 'a handler that does nothing'),
  webhook: { label: 'vvchat-robot, webhook', peer: 'ours', entryPoint: 'functions/webhook.ts' },
  'aws-lite': peer('aws-lite', 'aws-lite'),
  sdk: peer('sdk', "AWS's SDK as it comes"),
  grammy: peer('grammy', 'grammY', 'yes'),
  lark: peer('lark', "Lark's SDK", 'yes'),
  bolt: peer('bolt', 'Bolt', 'yes'),
  'grammy-takes': peer('grammy', 'grammY, verifies and parses only', 'no'),
  'lark-takes': peer('lark', "Lark's SDK, verifies and parses only", 'no'),
  'bolt-takes': peer('bolt', 'Bolt, verifies and parses only', 'no'),
  write: peer('write', "one UpdateItem by AWS's SDK"),
  writes: peer('writes', "the three calls by AWS's SDK"),
} as const satisfies Record<string, Target>;

export type TargetName = keyof typeof TARGETS;
export type Bundles = Readonly<Record<TargetName, Bundle>>;

/** Whether it is bundled with our own settings. */
export const isOwn = ({ entryPoint }: Target): boolean => entryPoint.startsWith('functions/');

/**
 * Bundles every handler into a folder.
 *
 * @throws what esbuild finds wrong
 */
export async function bundleAll(folder: string): Promise<Bundles> {
  const bundles = Object.entries<Target>(TARGETS).map(async ([name, target]) => [
    name,
    await bundled(target.entryPoint, join(folder, `${name}.cjs`), {
      own: isOwn(target),
      define: target.records ? { 'process.env.RECORDS': JSON.stringify(target.records) } : {},
    }),
  ]);
  return Object.fromEntries(await Promise.all(bundles));
}
