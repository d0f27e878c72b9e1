/** An error whose message is a fixed text of this project, and so safe to log and to store in a row. */
export class SafeError extends Error {}
