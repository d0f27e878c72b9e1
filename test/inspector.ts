import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { until } from './project.ts';

/** A debugger that is attached to the worker threads of a process. */
export interface Debugger extends Disposable {
  /** Waits until a breakpoint stops a worker; the place in the source, as `file:line`. */
  readonly stopped: () => Promise<string>;
  /** Lets every worker that has stopped run on. */
  readonly resume: () => void;
}

/** A line of a source file, counted from 1. */
export interface Place {
  /** The end of the file's path. */
  readonly source: string;
  readonly line: number;
}

/**
 * Attaches to a process by the inspector protocol, and sets a breakpoint in all workers that it starts. As editors
 * do, it finds the place in the bundles by their source maps, before a worker has loaded one.
 * Source: Chrome DevTools Protocol, domain `Debugger`; Node's own domain `NodeWorker`.
 */
export async function breakAt(
  port: number,
  place: Place,
  bundles: readonly string[],
): Promise<Debugger> {
  const breakpoints = bundles.map(readBundle).flatMap((bundle) => breakpointIn(bundle, place));
  if (breakpoints.length === 0) throw new Error(`No bundle holds ${place.source}:${place.line}.`);
  const socket = new WebSocket(await debuggerUrl(port));
  await once(socket, 'open');
  let id = 0;
  const command = (method: string, params: object = {}) =>
    JSON.stringify({ id: ++id, method, params });
  const toWorker = (sessionId: string, method: string, params?: object) => {
    const message = command(method, params);
    socket.send(command('NodeWorker.sendMessageToWorker', { sessionId, message }));
  };
  const urls = new Map<string, string>();
  const stops: { sessionId: string; place: string }[] = [];

  const onWorkerMessage = (sessionId: string, { method, params }: WorkerMessage) => {
    if (method === 'Debugger.scriptParsed') urls.set(`${sessionId} ${params.scriptId}`, params.url);
    if (method !== 'Debugger.paused') return;
    const { hitBreakpoints = [], callFrames } = params;
    const [{ location }] = callFrames;
    const url = urls.get(`${sessionId} ${location.scriptId}`) ?? '';
    // A worker that waits for a debugger also stops at its first line.
    if (hitBreakpoints.length === 0) toWorker(sessionId, 'Debugger.resume');
    else stops.push({ sessionId, place: placeOf(url, location) });
  };

  socket.addEventListener('message', ({ data }) => {
    const { method, params }: Message = JSON.parse(data);
    if (method === 'NodeWorker.attachedToWorker') {
      const { sessionId } = params;
      toWorker(sessionId, 'Debugger.enable');
      for (const breakpoint of breakpoints) {
        toWorker(sessionId, 'Debugger.setBreakpointByUrl', breakpoint);
      }
      toWorker(sessionId, 'Runtime.runIfWaitingForDebugger');
    }
    if (method === 'NodeWorker.receivedMessageFromWorker') {
      const { sessionId, message } = params;
      onWorkerMessage(sessionId, JSON.parse(message));
    }
  });
  socket.send(command('NodeWorker.enable', { waitForDebuggerOnStart: true }));

  return {
    stopped: () => until(async () => stops[0]?.place, 30_000),
    resume: () => {
      for (const { sessionId } of stops.splice(0)) toWorker(sessionId, 'Debugger.resume');
    },
    [Symbol.dispose]: () => socket.close(),
  };
}

interface Message {
  readonly method?: string;
  readonly params: { readonly sessionId: string; readonly message: string };
}

/** Of the events `Debugger.scriptParsed` and `Debugger.paused`. */
interface WorkerMessage {
  readonly method?: string;
  readonly params: {
    readonly scriptId: string;
    readonly url: string;
    readonly hitBreakpoints?: readonly string[];
    readonly callFrames: readonly [{ readonly location: Location }];
  };
}

interface Location {
  readonly scriptId: string;
  readonly lineNumber: number;
  readonly columnNumber: number;
}

interface Bundle {
  readonly url: string;
  readonly lines: number;
  readonly map: SourceMap;
}

function readBundle(file: string): Bundle {
  const text = readFileSync(file, 'utf8');
  const [, map = ''] = /sourceMappingURL=data:application\/json[^,]*;base64,(.*)/.exec(text) ?? [];
  return {
    url: pathToFileURL(file).href,
    lines: text.split('\n').length,
    map: new SourceMap(JSON.parse(Buffer.from(map, 'base64').toString())),
  };
}

function breakpointIn({ url, lines, map }: Bundle, { source, line }: Place) {
  for (let lineNumber = 0; lineNumber < lines; lineNumber++) {
    const entry = map.findEntry(lineNumber, Number.MAX_SAFE_INTEGER);
    if (!('originalSource' in entry) || entry.generatedLine !== lineNumber) continue;
    const isHere = entry.originalSource.endsWith(source) && entry.originalLine === line - 1;
    if (isHere) return [{ url, lineNumber }];
  }
  return [];
}

function placeOf(url: string, { lineNumber, columnNumber }: Location): string {
  const entry = readBundle(fileURLToPath(url)).map.findEntry(lineNumber, columnNumber);
  if (!('originalSource' in entry)) return `${url}:${lineNumber + 1}`;
  return `${entry.originalSource}:${entry.originalLine + 1}`;
}

async function debuggerUrl(port: number): Promise<string> {
  const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
  return (targets as { webSocketDebuggerUrl: string }[])[0]?.webSocketDebuggerUrl ?? '';
}
