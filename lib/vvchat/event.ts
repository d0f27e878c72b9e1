import type * as v from 'valibot';
import type { Schemas } from './read-event.ts';

/**
 * The one list of VVChat's events. A new event is added here; whatever else needs a decision for it does not compile
 * until it has one. Source: robot protocol v1, "Events".
 */
export const EVENT_NAMES = ['at', 'join-group-for-invite', 'session-open'] as const;

export type EventName = (typeof EVENT_NAMES)[number];

export const isEventName = (name: string): name is EventName =>
  EVENT_NAMES.some((known) => known === name);

/** An event that VVChat documents. */
export type Event = {
  [Name in EventName]: v.InferOutput<Schemas[Name]> & {
    readonly event: Name;
    readonly version: 'v1';
  };
}[EventName];

export type Session = Event['data']['session'];
