import { computed, signal } from '@preact/signals';
import type { ErrorBody } from '../errors.ts';
import {
  type Change,
  type Chat,
  emptyState,
  type Line,
  type State,
  withChanges,
} from '../state.ts';
import type { TEXTS } from './texts.ts';

/** This page's copy of the server's state. */
export const state = signal<State>(emptyState());
export const adminUrl = signal('');
export const isConnected = signal(false);

/** Why the last action failed. */
export const failure = signal<Failure>();
interface Failure {
  readonly code: keyof (typeof TEXTS)['en']['errors'];
  readonly detail?: string;
}

const INSPECTORS = ['traffic', 'memberships', 'faults'] as const;
export type Inspector = (typeof INSPECTORS)[number];
export type View = 'chats' | 'chat' | Inspector;
export const views: readonly View[] = ['chats', 'chat', ...INSPECTORS];

/** Whether the window has room for everything: then the chats and the current chat are always visible. */
const wide = matchMedia('(min-width: 1000px)');
export const isWide = signal(wide.matches);
wide.addEventListener('change', () => (isWide.value = wide.matches));

/** The view of a narrow window. */
export const view = signal<View>('chat');

/** The view beside the chat in a wide window. */
export const inspector = signal<Inspector>('traffic');

/** Switches to a view, in a window of any width. */
export function showView(name: View): void {
  view.value = name;
  if (name !== 'chats' && name !== 'chat') inspector.value = name;
}

/** Unsent text, by chat. */
export const drafts = new Map<string, string>();

/** A signal whose value survives a reload. */
function persisted(key: string) {
  const stored = signal(localStorage.getItem(key) ?? '');
  stored.subscribe((value) => localStorage.setItem(key, value));
  return stored;
}

const storedPerson = persisted('vvchat-studio-person');
const storedChat = persisted('vvchat-studio-chat');

export const person = computed(
  () => state.value.people.get(storedPerson.value) ?? [...state.value.people.values()][0],
);

/** The groups, and the current person's one-to-one chats. */
export const chats = computed(() =>
  [...state.value.chats.values()].filter(
    ({ session_type, session_open_id }) =>
      session_type === '2' || session_open_id === person.value?.open_id,
  ),
);

export const chat = computed(
  () => chats.value.find(({ id }) => id === storedChat.value) ?? chats.value[0],
);

export const lines = computed(() =>
  [...state.value.lines.values()].filter((line) => line.chat === chat.value?.id),
);

/** The last line that has a text, by chat. */
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

export function becomePerson(open_id: string): void {
  storedPerson.value = open_id;
}

/** Opens a chat; for a group, VVChat posts an event to its robots. */
export function openChat({ id, session_type }: Chat): void {
  storedChat.value = id;
  view.value = 'chat';
  if (session_type === '2' && person.value)
    void act('open', { chat: id, person: person.value.open_id });
}

export function showChat(id: string): void {
  storedChat.value = id;
}

/** Asks the server to do something; resolves to nothing if that fails, and the failure is shown. */
export async function act<T>(action: string, input: object): Promise<T | undefined> {
  try {
    const response = await fetch(`/studio/${action}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(input),
    });
    const body: unknown = await response.json();
    failure.value = response.ok ? undefined : (body as ErrorBody);
    return response.ok ? (body as T) : undefined;
  } catch {
    failure.value = { code: 'unreachable' };
    return undefined;
  }
}

/** Follows the server while the page is visible: a browser shares six connections among all of its tabs. */
export function followWhileVisible(): void {
  let source: EventSource | undefined;
  const update = () => {
    if (document.hidden) source?.close();
    else source = follow();
  };
  document.addEventListener('visibilitychange', update);
  update();
}

/** The server sends a snapshot first, and again whenever the browser has reconnected. */
function follow(): EventSource {
  const source = new EventSource('/studio/changes');
  source.addEventListener('snapshot', ({ data }) => {
    const snapshot: { changes: Change[]; adminUrl: string } = JSON.parse(data);
    adminUrl.value = snapshot.adminUrl;
    state.value = withChanges(emptyState(), snapshot.changes);
    isConnected.value = true;
  });
  source.addEventListener('changes', ({ data }) => {
    state.value = withChanges(state.value, JSON.parse(data));
  });
  source.addEventListener('error', () => {
    isConnected.value = false;
  });
  return source;
}
