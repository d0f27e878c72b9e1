import { randomUUID } from 'node:crypto';
import type { Command } from '../../lib/vvchat/command.ts';

export interface Webview {
  /** A percentage of the chat (`50%`), or pixels (`234`). */
  readonly height: string;
  readonly url: string;
  readonly robot_no: string;
  /** Changes whenever the page has to be loaded again. */
  readonly load: string;
}

/** What a command does to a chat. */
export interface Effect {
  /** The chat's web view afterwards. */
  readonly webview: Webview | undefined;
  /** The line that appears in the chat. */
  readonly line: { readonly kind: LineKind; readonly text?: string };
}

/**
 * The kinds of lines in a chat. Every command is one, so a new command of lib/vvchat/command.ts does not compile
 * before {@link effectOf} has decided what it does and page/texts.ts how it reads.
 */
export type LineKind = MessageKind | NoteKind;

/** Shown as messages: a person's, a person's that mentions no robot, and a robot's. */
export type MessageKind = 'message' | 'message-without-mention' | 'send-text';

/** Shown as notes. */
export type NoteKind =
  | 'joined'
  | 'opened'
  | Exclude<Command['cmd'], MessageKind>
  | 'webview-refresh-missed';

/** What a robot's command does to a chat that has a web view, or none. */
export function effectOf(command: Command, robot_no: string, webview?: Webview): Effect {
  switch (command.cmd) {
    case 'send-text':
      return { webview, line: { kind: command.cmd, text: command.params.text } };
    case 'webview-group-open': {
      const opened = { ...command.params, robot_no, load: randomUUID() };
      return { webview: opened, line: { kind: command.cmd, text: summaryOf(opened) } };
    }
    case 'webview-group-refresh': {
      const { url, height = webview?.height ?? '' } = command.params;
      const refreshed = { url, height, robot_no, load: randomUUID() };
      const text = summaryOf(refreshed);
      // VVChat does not document what a refresh does where no web view is open, so nothing may depend on it.
      return webview
        ? { webview: refreshed, line: { kind: command.cmd, text } }
        : { webview, line: { kind: 'webview-refresh-missed', text } };
    }
    case 'webview-group-close':
      return { webview: undefined, line: { kind: command.cmd } };
  }
}

const summaryOf = ({ url, height }: Pick<Webview, 'url' | 'height'>): string =>
  height ? `${url} (${height})` : url;
