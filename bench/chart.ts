import type { Spread } from './statistics.ts';

/** The bars of a target: how many times the base it takes. */
export interface Bars {
  readonly label: string;
  readonly isOurs: boolean;
  readonly tls: Spread;
  readonly http: Spread;
}

const WIDTH = 720;
const LEFT = 190;
const RIGHT = 52;
const TOP = 74;
const BAR = 13;
const GROUP = 42;

const STYLE = `
    text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #1f2328; }
    .title { font-size: 16px; font-weight: 600; }
    .small { font-size: 11px; fill: #59636e; }
    .ours { font-weight: 600; }
    .back { fill: #ffffff; }
    .grid { stroke: #d1d9e0; }
    .base { stroke: #59636e; stroke-dasharray: 3 3; }
    .whisker { stroke: #1f2328; fill: none; }
    .tls { fill: #8c959f; }
    .http { fill: #c8d0d8; }
    .ours .tls { fill: #0969da; }
    .ours .http { fill: #8cc0f5; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e6edf3; }
      .small { fill: #9198a1; }
      .back { fill: #0d1117; }
      .grid { stroke: #30363d; }
      .base { stroke: #9198a1; }
      .whisker { stroke: #e6edf3; }
      .tls { fill: #7d8590; }
      .http { fill: #484f58; }
      .ours .tls { fill: #4493f8; }
      .ours .http { fill: #1f4f8f; }
    }`;

/**
 * Draws horizontal bars with whiskers from the first to the third quartile, as SVG that also fits a dark page.
 *
 * @param note a line below: where and when this was measured
 */
export function chart(bars: readonly Bars[], note: string): string {
  const most = Math.max(...bars.flatMap(({ tls, http }) => [tls.q3, http.q3]));
  const step = most > 8 ? 2 : 1;
  const end = Math.ceil(most / step) * step;
  const bottom = TOP + bars.length * GROUP;
  const height = bottom + 52;
  const x = (times: number) => round(LEFT + (times / end) * (WIDTH - LEFT - RIGHT));
  const ticks = Array.from({ length: end / step + 1 }, (_, i) => i * step);
  const described = bars
    .map(({ label, tls, http }) => `${label} ${times(tls)} over TLS, ${times(http)} over HTTP`)
    .join('; ');
  const title = 'Cold start: how many times a handler that does nothing';
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
  <title id="title">${escaped(title)}</title>
  <desc id="desc">${escaped(`Medians: ${described}. Less is better.`)}</desc>
  <style>${STYLE}
  </style>
  <rect class="back" width="${WIDTH}" height="${height}" rx="6"/>
  <text class="title" x="16" y="28">${escaped(title)}</text>
  ${legend()}
${ticks.map((tick) => tickAt(x(tick), tick, bottom)).join('\n')}
${bars.map((it, i) => group(it, TOP + i * GROUP, x)).join('\n')}
  <line class="base" x1="${x(1)}" x2="${x(1)}" y1="${TOP - 6}" y2="${bottom}"/>
  <text class="small" x="16" y="${height - 12}">${escaped(note)}</text>
</svg>
`;
}

function legend(): string {
  const y = 40;
  return [
    '<g aria-hidden="true">',
    `    <rect class="tls" x="16" y="${y}" width="12" height="12" rx="2"/>`,
    `    <text class="small" x="33" y="${y + 10}">over TLS, as on AWS</text>`,
    `    <rect class="http" x="156" y="${y}" width="12" height="12" rx="2"/>`,
    `    <text class="small" x="173" y="${y + 10}">over HTTP</text>`,
    `    <path class="whisker" d="M244 ${y + 2}v8m0-4h16m0-4v8"/>`,
    `    <text class="small" x="267" y="${y + 10}">quartiles</text>`,
    '  </g>',
  ].join('\n');
}

const tickAt = (x: number, tick: number, bottom: number) =>
  `  <line class="grid" x1="${x}" x2="${x}" y1="${TOP - 6}" y2="${bottom}"/>
  <text class="small" x="${x}" y="${bottom + 16}" text-anchor="middle">${tick} ×</text>`;

function group({ label, isOurs, tls, http }: Bars, y: number, x: (times: number) => number) {
  return `  <g${isOurs ? ' class="ours"' : ''}>
${labelAt(label, y)}
${bar('tls', tls, y, x)}
${bar('http', http, y + BAR + 2, x)}
  </g>`;
}

/** What stands behind a comma goes below, in small. */
function labelAt(label: string, y: number): string {
  const [name = '', more] = label.split(', ');
  const at = `x="${LEFT - 10}" text-anchor="end"`;
  if (more === undefined) return `    <text ${at} y="${y + BAR + 5}">${escaped(name)}</text>`;
  return `    <text ${at} y="${y + BAR - 2}">${escaped(name)}</text>
    <text ${at} y="${y + BAR + 12}" class="small">${escaped(more)}</text>`;
}

function bar(kind: 'tls' | 'http', spread: Spread, y: number, x: (times: number) => number) {
  const { q1, median, q3 } = spread;
  const middle = y + BAR / 2;
  return `    <rect class="${kind}" x="${x(0)}" y="${y}" width="${round(x(median) - x(0))}" height="${BAR}" rx="2"/>
    <path class="whisker" d="M${x(q1)} ${middle - 3}v6m0-3H${x(q3)}m0-3v6"/>
    <text class="small" x="${round(x(Math.max(q3, median)) + 6)}" y="${middle + 4}">${times(spread)}</text>`;
}

const times = ({ median }: Spread) => `${median.toFixed(2)} ×`;
const round = (value: number) => Math.round(value * 10) / 10;

const escaped = (text: string) =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
