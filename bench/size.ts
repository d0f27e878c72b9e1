import { join } from 'node:path';
import { type Bundle, bundled } from './bundling.ts';
import { kilobytes, type Section, table } from './report.ts';
import { type Bundles, TARGETS, type TargetName } from './targets.ts';

/* The size of the bundles, and the packages that it comes from. */

const PEERS = ['aws-lite', 'sdk', 'grammy', 'lark', 'bolt', 'bare'] as const satisfies TargetName[];

const LIMIT = 200_000;
const GZIP_LIMIT = 66_000;

/**
 * The bundles of the three functions and of the peers.
 *
 * @param folder for the bundles that are still to be made
 * @throws {Error} with esbuild's findings
 */
export async function reportSize(bundles: Bundles, folder: string): Promise<Section> {
  const own = (name: string) =>
    bundled(`functions/${name}.ts`, join(folder, `${name}.cjs`), { own: true });
  const row = (label: string, { bytes, gzipBytes }: Bundle) => [
    label,
    kilobytes(bytes),
    kilobytes(gzipBytes),
  ];
  const { webhook } = bundles;
  const rows = [
    row(TARGETS.webhook.label, webhook),
    row('vvchat-robot, reply', await own('reply')),
    row('vvchat-robot, retry', await own('retry')),
    ...PEERS.map((name) => row(TARGETS[name].label, bundles[name])),
  ];
  const packages = [...webhook.byPackage].sort(([, a], [, b]) => b - a);
  const others = webhook.bytes - packages.reduce((sum, [, bytes]) => sum + bytes, 0);
  const byPackage = [...packages, ['joined by esbuild', others] as const]
    .filter(([, bytes]) => bytes > 0)
    .map(([name, bytes]) => [name, kilobytes(bytes)]);
  const size = `${kilobytes(webhook.bytes)}, ${kilobytes(webhook.gzipBytes)} gzip`;
  return {
    markdown: [
      '### Size',
      'Bundles as they are deployed, minified; a KB is 1000 bytes.',
      table(['', '>minified', '>gzip'], rows),
      'The bundle of `webhook` by package:',
      table(['package', '>minified'], byPackage),
    ].join('\n\n'),
    verdicts: [
      {
        what: `size, webhook ≤ ${kilobytes(LIMIT)}, ${kilobytes(GZIP_LIMIT)} gzip: ${size}`,
        holds: webhook.bytes <= LIMIT && webhook.gzipBytes <= GZIP_LIMIT,
      },
    ],
  };
}
