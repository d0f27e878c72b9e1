import { computed, signal } from '@preact/signals';
import { after, type Change, type Chat, emptyState, type Line, type State } from '../state.ts';
import { t } from './texts.ts';

/** What the server has told so far. */
export const state = signal<State>(emptyState());
export const adminUrl = signal('');
export const isConnected = signal(false);

/** What went wrong with the last thing that was done. */
export const fault = signal<string>();

const VIEWS = ['chats', 'chat', 'wire', 'memberships', 'weather'] as const;
export type View = (typeof VIEWS)[number];
export const views: readonly View[] = VIEWS;

/** What a narrow window shows; a wide one has the chats and the chat in view anyway. */
export const view = signal<View>('chat');

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

export const lastLine = (id: string): Line | undefined =>
  [...state.value.lines.values()].findLast((line) => line.chat === id && line.text !== undefined);

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
    fault.value = t().failed((error as Error).message);
    return undefined;
  }
}

/** Follows the server, again and again should it go away. */
export function follow(): void {
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
    // Not all browsers try again by themselves after a refusal.
    if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1_000);
  });
}
