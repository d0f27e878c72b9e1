import { computed, signal } from '@preact/signals';
import { after, type Change, type Chat, emptyState, type Line, type State } from '../state.ts';
import { t } from './texts.ts';

/** What the server has told so far. */
export const state = signal<State>(emptyState());
export const adminUrl = signal('');
export const isConnected = signal(false);

/** What went wrong with the last thing that was done. */
export const fault = signal<string>();

const INSPECTORS = ['wire', 'memberships', 'weather'] as const;
export type Inspector = (typeof INSPECTORS)[number];
export type View = 'chats' | 'chat' | Inspector;
export const views: readonly View[] = ['chats', 'chat', ...INSPECTORS];

/** Whether the window has room for all: then the chats and the chat are in view anyway. */
const wide = matchMedia('(min-width: 1000px)');
export const isWide = signal(wide.matches);
wide.addEventListener('change', () => (isWide.value = wide.matches));

/** What a narrow window shows. */
export const view = signal<View>('chat');

/** What a wide window shows beside the chat. */
export const inspector = signal<Inspector>('wire');

/** Shows something, in a window of any width. */
export function lookAt(name: View): void {
  view.value = name;
  if (name !== 'chats' && name !== 'chat') inspector.value = name;
}

/** What is typed and not sent, by chat. */
export const drafts = new Map<string, string>();

/** A value that this browser keeps. */
function kept(key: string) {
  const it = signal(localStorage.getItem(key) ?? '');
  it.subscribe((value) => localStorage.setItem(key, value));
  return it;
}

const keptPerson = kept('vvchat-studio-person');
const keptChat = kept('vvchat-studio-chat');

export const person = computed(
  () => state.value.people.get(keptPerson.value) ?? [...state.value.people.values()][0],
);

/** The groups, and the one-to-one chats of the person at hand. */
export const chats = computed(() =>
  [...state.value.chats.values()].filter(
    ({ session_type, session_open_id }) =>
      session_type === '2' || session_open_id === person.value?.open_id,
  ),
);

export const chat = computed(
  () => chats.value.find(({ id }) => id === keptChat.value) ?? chats.value[0],
);

export const lines = computed(() =>
  [...state.value.lines.values()].filter((line) => line.chat === chat.value?.id),
);

/** What was said last, by chat. */
export const lastLines = computed(
  () =>
    new Map<string, Line>(
      [...state.value.lines.values()]
        .filter(({ text }) => text !== undefined)
        .map((line) => [line.chat, line]),
    ),
);

export const robotName = (robot_no: string | undefined): string =>
  state.value.robots.get(robot_no ?? '')?.name ?? robot_no ?? '';

export const personName = (open_id: string | undefined): string =>
  state.value.people.get(open_id ?? '')?.name ?? open_id ?? '';

export function be(open_id: string): void {
  keptPerson.value = open_id;
}

/** Opens a chat: VVChat tells the robots of a group that somebody did. */
export function open({ id, session_type }: Chat): void {
  keptChat.value = id;
  view.value = 'chat';
  if (session_type === '2' && person.value)
    void act('open', { chat: id, person: person.value.open_id });
}

export function show(id: string): void {
  keptChat.value = id;
}

/** Does something in the studio; resolves to nothing where that fails, which is shown. */
export async function act<T>(action: string, input: object): Promise<T | undefined> {
  try {
    const response = await fetch(`/studio/${action}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(input),
    });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.error);
    fault.value = undefined;
    return answer;
  } catch (error) {
    const { message } = error as Error;
    fault.value = t().failed(t().faults[message] ?? message);
    return undefined;
  }
}

/** Follows the server while the page is in view: a browser has six connections for all of its tabs. */
export function followInView(): void {
  let source: EventSource | undefined;
  const look = () => {
    if (document.hidden) source?.close();
    else source = follow();
  };
  document.addEventListener('visibilitychange', look);
  look();
}

/** It is told the whole first, and so again whenever the connection was lost; the browser sees to that. */
function follow(): EventSource {
  const source = new EventSource('/studio/changes');
  source.addEventListener('whole', ({ data }) => {
    const whole: { changes: Change[]; adminUrl: string } = JSON.parse(data);
    adminUrl.value = whole.adminUrl;
    state.value = after(emptyState(), whole.changes);
    isConnected.value = true;
  });
  source.addEventListener('changes', ({ data }) => {
    state.value = after(state.value, JSON.parse(data));
  });
  source.addEventListener('error', () => {
    isConnected.value = false;
  });
  return source;
}
