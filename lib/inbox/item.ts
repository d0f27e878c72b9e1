import { createHash, randomUUID } from 'node:crypto';
import type { AttributeValue } from '@aws-sdk/client-dynamodb';
import { fromAttributes, iso } from '../aws/table.ts';
import type { Question } from '../routing.ts';
import type { Command } from '../vvchat/command.ts';
import type { Event, EventName, Session } from '../vvchat/event.ts';
import { GIVE_UP_MS, LEASE_MS } from './backoff.ts';

export interface Key {
  readonly session_open_id: string;
  readonly event_id: string;
}

/** A row of the inbox. Times are ISO 8601 UTC. */
export interface Item extends Key {
  readonly event: EventName;
  readonly app_id: string;
  readonly robot_open_id: string;
  readonly robot_no: string;
  readonly session_type: Session['session_type'];
  readonly trigger_target: string;
  readonly trigger_open_id?: string;
  readonly text?: string;
  readonly received_at: string;
  readonly status: 'pending' | 'replied' | 'ignored' | 'failed';
  /**
   * What a worker is doing. On a due row it means that the worker crashed. `crashed`: a row that failed because the
   * robot crashed its workers, and so is quarantined once it is put back.
   */
  readonly phase?: 'asking' | 'sending' | 'crashed';
  /** The fencing token: how often the row was claimed. It never falls. */
  readonly claims: number;
  /** How many calls of the robot ended without an answer, or with their worker. */
  readonly robot_calls: number;
  /** Of the insert. */
  readonly enqueue_id: string;
  /** Of the last write. A worker that finds its own knows that the write took effect. */
  readonly write_id: string;
  /** When the row is due: the lease's end while a worker has it; for a failed row, when it failed. */
  readonly next_attempt_at: string;
  readonly give_up_at: string;
  readonly due_shard?: string;
  /** What the robot answered: JSON of its commands. */
  readonly commands?: string;
  /** How many of the commands were sent. */
  readonly sent: number;
  /** Which commands (from 0) were sent with an unknown outcome, and so may have been carried out twice. */
  readonly unknown?: readonly number[];
  /** When the next command was sent with an unknown outcome. It is sent once more, and never a third time. */
  readonly unknown_at?: string;
  /** Which command (from 0) VVChat refused with a token so new that the token may have been the reason. */
  readonly refused?: number;
  readonly replied_at?: string;
  /** For people. No code looks into it; a redrive filters by it, and a later failure quotes it. */
  readonly last_error?: string;
  /** How many equal events came within the window, and when the last of them did. */
  readonly duplicates?: number;
  readonly last_duplicate_at?: string;
  /** When the robot's answer was stored. */
  readonly answered_at?: string;
  /** Which invocation wrote last, such as `reply 8f2c0a51-…`. */
  readonly worker?: string;
  /** What went wrong lately: JSON, see history.ts. */
  readonly history?: string;
  /** When an operator marked the failed row as seen. */
  readonly acknowledged_at?: string;
  /** Seconds since 1970, for DynamoDB's time to live. */
  readonly expires_at?: number;
}

/** Makes an event a row: the nth of equal events. */
export function toItem(
  { event, data }: Event,
  { fingerprint, number, now }: { fingerprint: string; number: number; now: number },
): Item {
  const { robot, session, trigger } = data;
  const event_id = eventId(fingerprint, number);
  const id = randomUUID();
  return {
    session_open_id: session.session_open_id,
    event_id,
    event,
    app_id: robot.app_id,
    robot_open_id: robot.open_id,
    robot_no: robot.robot_no,
    session_type: session.session_type,
    trigger_target: trigger.target,
    ...(trigger.open_id !== undefined && { trigger_open_id: trigger.open_id }),
    ...('content' in data && { text: data.content.text }),
    received_at: iso(now),
    status: 'pending',
    claims: 0,
    robot_calls: 0,
    enqueue_id: id,
    write_id: id,
    next_attempt_at: iso(now + LEASE_MS),
    give_up_at: iso(now + GIVE_UP_MS),
    due_shard: shardOf(event_id),
    sent: 0,
  };
}

/** Makes a row what the robot is asked. */
export function toQuestion(item: Item, attempt: number, signal: AbortSignal): Question {
  const { app_id, robot_open_id, robot_no, trigger_target, trigger_open_id, event, text } = item;
  const receivedAt = new Date(item.received_at);
  const context = {
    session: sessionOf(item),
    robot: { app_id, open_id: robot_open_id, robot_no },
    trigger: { target: trigger_target, open_id: trigger_open_id ?? '' },
    receivedAt,
    // Row ids come again once the rows of the same event have expired.
    eventId: `${item.event_id}-${receivedAt.getTime()}`,
    attempt,
    signal,
  };
  return event === 'at' ? { ...context, event, text: text ?? '' } : { ...context, event };
}

export const sessionOf = ({ session_open_id, session_type }: Item): Session => ({
  session_open_id,
  session_type,
});

export const keyOf = ({ session_open_id, event_id }: Key) => ({ session_open_id, event_id });

/** A row, or the part of it that was read. */
export const itemIn = (attributes: Record<string, AttributeValue>) =>
  fromAttributes(attributes) as unknown as Item;

/** The commands that the robot answered, once it has. */
export const commandsOf = ({ commands }: Item): readonly Command[] | undefined =>
  commands === undefined ? undefined : JSON.parse(commands);

/** Whether the next command was sent with an unknown outcome: if sent again, it may be carried out twice. */
export const isUnknown = ({ unknown = [], sent }: Item): boolean => unknown.includes(sent);

/** Whether the next send of a command is its last, whatever comes of it. */
export const isLastSend = ({ unknown_at }: Item): boolean => unknown_at !== undefined;

/** A call that crashed its worker counts as soon as the next worker finds the row. */
export const robotCallsOf = ({ phase, robot_calls }: Item): number =>
  robot_calls + (phase === 'asking' ? 1 : 0);

/** Whether the last worker of a due row crashed. */
export const crashed = ({ phase }: Item): boolean => phase !== undefined;

/** Whether the last worker of a due row crashed while it sent a command, which may have been carried out. */
export const crashedWhileSending = ({ phase }: Item): boolean => phase === 'sending';

/** For how many milliseconds a row has waited since it was accepted, or put back. */
export const waitedMs = ({ give_up_at }: Item, now: number): number =>
  Math.max(now - (Date.parse(give_up_at) - GIVE_UP_MS), 0);

// ---- ids

/** 128 bits over all that makes two events equal, since VVChat gives an event no id. */
export function fingerprintOf({ event, data }: Event): string {
  const { robot, session, trigger } = data;
  const identity = [
    event,
    robot.app_id,
    robot.open_id,
    session.session_type,
    session.session_open_id,
    trigger.target,
    trigger.open_id ?? null,
    'content' in data ? data.content.text : null,
  ];
  return createHash('sha256').update(JSON.stringify(identity)).digest('hex').slice(0, 32);
}

/** The id of the nth row of equal events; ids are in the order of their numbers. */
export const eventId = (fingerprint: string, number: number): string =>
  `${fingerprint}-${`${number}`.padStart(10, '0')}`;

export const LAST_NUMBER = 9_999_999_999;

export const numberOf = ({ event_id }: Pick<Item, 'event_id'>): number =>
  Number(event_id.slice(event_id.lastIndexOf('-') + 1));

// ---- the index of due rows

export const DUE_SHARDS = 16;

export const shardName = (shard: number): string => `${shard}`.padStart(2, '0');

export const shardOf = (event_id: string): string =>
  shardName(createHash('sha256').update(event_id).digest().readUInt8() % DUE_SHARDS);

export const failedShardOf = (event_id: string): string => `failed-${shardOf(event_id)}`;

/** Failed rows that an operator has seen lie apart from those that are new. */
export const acknowledgedShardOf = (event_id: string): string =>
  `acknowledged-${shardOf(event_id)}`;

/** What the index `due` lists. */
export type DueList = 'pending' | 'failed' | 'acknowledged';

/** The keys under which the index has a list, in the order of their text. An earlier version put every failed row under the key `failed`. */
export function shardsOf(list: DueList): readonly string[] {
  const names = Array.from({ length: DUE_SHARDS }, (_, shard) => shardName(shard));
  if (list === 'pending') return names;
  const shards = names.map((name) => `${list}-${name}`);
  return list === 'failed' ? ['failed', ...shards] : shards;
}
