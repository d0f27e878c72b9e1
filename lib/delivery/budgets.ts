import { REQUEST_MS } from '../vvchat/api.ts';

/* How a function divides its time; in milliseconds. serverless.yml has the time-outs that these add up to. */

/** How long a robot may take to answer; the setting ROBOT_TIMEOUT_SECONDS may shorten it. */
export const ROBOT_MS = 60_000;

/** What remains to a function after the robot's answer, for a token and the first sends. */
export const SENDING_MS = 30_000;

/** What a function keeps for the write that follows a send: three attempts, and a read of their outcome. */
export const WRITE_MS = 14_000;

/** A send, and the write that counts it. */
export const SEND_AND_WRITE_MS = REQUEST_MS + WRITE_MS;

/** The longest that a row may take: none is begun with less time than this left. */
export const ROW_MS = ROBOT_MS + SENDING_MS;

/** Between two attempts at a write that DynamoDB did not take. */
export const WRITE_RETRY_MS = 500;
