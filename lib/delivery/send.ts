import { isUnknown } from '../inbox/item.ts';
import { type Lease, markSending, markUnknown } from '../inbox/transitions.ts';
import { REQUEST_MS, VVChatError } from '../vvchat/api.ts';
import type { Message } from '../vvchat/command.ts';
import { NoTokenError, type Token } from '../vvchat/token.ts';
import { SEND_AND_WRITE_MS } from './budgets.ts';
import type { Delivery } from './delivery.ts';

/** Why a command was not sent, or may not have been. */
export type SendFailure = VVChatError | NoTokenError | OutOfTimeError;

/** The function has too little time left. Nothing was sent. */
export class OutOfTimeError extends Error {
  override readonly name = 'OutOfTimeError';

  constructor() {
    super('the function had no time left');
  }
}

interface Sent {
  readonly lease: Lease;
  readonly failure?: SendFailure;
  /** Of a refusal: VVChat refused the command with two tokens, so neither was the reason. */
  readonly isFinal?: boolean;
}

/**
 * Sends one command. A token that VVChat refuses is replaced, and the command sent again: a refused command was not
 * carried out. Where that is doubtful, the row lists the command as of unknown outcome first.
 *
 * @throws what DynamoDB throws, before anything was sent
 */
export async function send(delivery: Delivery, unsent: Lease, message: Message): Promise<Sent> {
  const { api, tokens } = delivery;
  const { app_id, robot_no } = unsent.item;
  let lease = unsent;
  try {
    let token: Token | undefined = await beforeDeadline(delivery, tokens.get(app_id));
    for (let refusals = 1; ; refusals++) {
      checkTime(delivery);
      // Kept even if there is no time left after it: a lease that is not the last one can write nothing.
      lease = await markSending(delivery.inbox, lease, REQUEST_MS);
      checkTime(delivery);
      const refusal = await refusalOf(api.send(robot_no, token.token, message));
      if (!refusal) return { lease };
      if (refusal.isDoubtful && isUnknown(lease.item)) {
        return { lease, failure: refusal, isFinal: true };
      }
      if (refusal.isDoubtful) lease = await markUnknown(delivery.inbox, lease);
      const other: Token | undefined = await beforeDeadline(
        delivery,
        tokens.replace(app_id, token),
      );
      if (!other) return { lease, failure: refusal, isFinal: refusals > 1 };
      token = other;
    }
  } catch (failure) {
    if (isSendFailure(failure)) return { lease, failure };
    throw failure;
  }
}

/** @throws {OutOfTimeError} when a send, and the write that counts it, could outlast the function */
function checkTime(delivery: Delivery): void {
  if (timeLeft(delivery) < 0) throw new OutOfTimeError();
}

/** How much time is left before the last moment at which a send may begin; in milliseconds. */
const timeLeft = ({ inbox, deadline }: Delivery): number =>
  deadline - inbox.now() - SEND_AND_WRITE_MS;

/** Waits for a token, but not for so long that nothing could be sent with it. */
async function beforeDeadline<T>(delivery: Delivery, token: Promise<T>): Promise<T> {
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new OutOfTimeError()), Math.max(timeLeft(delivery), 0));
  try {
    return await Promise.race([token, tooLate]);
  } finally {
    clearTimeout(timer);
  }
}

/** VVChat's refusal of a command, if it is one. */
async function refusalOf(sending: Promise<void>): Promise<VVChatError | undefined> {
  try {
    await sending;
    return undefined;
  } catch (error) {
    if (error instanceof VVChatError && error.fault === 'refused') return error;
    throw error;
  }
}

const isSendFailure = (error: unknown): error is SendFailure =>
  error instanceof VVChatError || error instanceof NoTokenError || error instanceof OutOfTimeError;
