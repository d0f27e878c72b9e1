import { readFileSync } from 'node:fs';
import type { SourceMap } from 'node:module';

/*
 * The functions are minified, so a stack names places in one long line. Node would map each of them back by itself,
 * at the price of reading the map at every cold start; here it is read, and Node's module for it loaded, when the first
 * error is logged.
 */

/** The maps that were looked for, by the file that they are of. */
const maps = new Map<string, SourceMap | undefined>();

/**
 * A place of a stack, such as `at x (/var/task/functions/reply.cjs:1:2345)`, by file and line of the source:
 * `at robot/weather.ts:12:9`. The name of the function goes, since it is a minified one. Without a map beside the
 * file, the place stays as it is.
 */
export function sourcePlace(place: string): string {
  const [, file = '', line, column] = FRAME.exec(place) ?? [];
  if (file === '') return place;
  if (!maps.has(file)) maps.set(file, mapOf(file));
  const origin = maps.get(file)?.findOrigin(Number(line), Number(column));
  return origin && 'fileName' in origin
    ? `at ${origin.fileName}:${origin.lineNumber}:${origin.columnNumber}`
    : place;
}

const FRAME = /^at (?:async )?(?:.*\()?(?:file:\/\/)?(\/.+\.[cm]?js):(\d+):(\d+)\)?$/;

function mapOf(file: string): SourceMap | undefined {
  try {
    const { SourceMap } = process.getBuiltinModule('node:module');
    return new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8')));
  } catch {
    return undefined;
  }
}
