/**
 * The one list of VVChat's events. A new event is added here; what else needs a decision for it does not compile, or
 * fails a test, until it has one. Source: robot protocol v1, "Events".
 */
export const EVENT_NAMES = ['at', 'join-group-for-invite', 'session-open'] as const;

export type EventName = (typeof EVENT_NAMES)[number];

export const isEventName = (name: string): name is EventName =>
  EVENT_NAMES.some((known) => known === name);

/** An event that VVChat documents. */
export type Event = { [Name in EventName]: EventOf<Name> }[EventName];

interface EventOf<Name extends EventName> {
  event: Name;
  version: 'v1';
  data: EventData<Name>;
}

/** What an event is about: the common fields, and an @-mention's text. */
export type EventData<Name extends EventName> = CommonFields &
  (Name extends 'at' ? { content: { text: string } } : object);

interface CommonFields {
  robot: { app_id: string; open_id: string; robot_no: string };
  session: Session;
  /** `open_id` is known for the target `user` only. */
  trigger: { target: string; open_id?: string | undefined };
}

export interface Session {
  session_open_id: string;
  /** One-to-one chat, or group. */
  session_type: '1' | '2';
}
