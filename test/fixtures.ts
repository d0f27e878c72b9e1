import { readFileSync } from 'node:fs';
import type { Arrival } from '../lib/inbox/enqueue.ts';
import { fingerprintOf } from '../lib/inbox/item.ts';
import type { Question } from '../lib/routing.ts';
import type { Event } from '../lib/vvchat/event.ts';

/** The events as VVChat documents them, out of the samples in events/. */
export const documented = {
  join: eventIn('join-group-for-invite'),
  open: eventIn('session-open'),
  at: eventIn('at'),
};

/** A file of events/. */
export function sample(name: string) {
  return JSON.parse(readFileSync(new URL(`../events/${name}.json`, import.meta.url), 'utf8'));
}

function eventIn(name: string): Event {
  return JSON.parse(sample(name).body);
}

/** An event of which the inbox has no row yet, as far as its delivery knows. */
export const newArrival = (event: Event): Arrival => ({
  event,
  fingerprint: fingerprintOf(event),
  latest: undefined,
});

/** The documented @-mention with another text. */
export function saying(text: string): Event {
  const event = structuredClone(documented.at);
  Object.assign(event.data, { content: { text } });
  return event;
}

const { session, robot } = documented.at.data;
const trigger = { target: 'user', open_id: documented.at.data.trigger.open_id ?? '' };

const context = {
  session,
  robot,
  trigger,
  receivedAt: new Date('2026-03-14T09:00:00Z'),
  eventId: '0-1',
  attempt: 1,
  signal: new AbortController().signal,
};

type Changes = Partial<Omit<typeof context, 'signal'>>;

/** An @-message to a robot, for `ask`. */
export const at = (text: string, changes: Changes = {}): Question => ({
  ...context,
  ...changes,
  event: 'at',
  text,
});

/** A robot was pulled into a group, or a user opened one, for `ask`. */
export const on = (
  event: 'join-group-for-invite' | 'session-open',
  changes: Changes = {},
): Question => ({ ...context, ...changes, event });
