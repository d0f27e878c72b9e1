/** An error whose message is a fixed text of this project's: fit for a log, a row and its reader. */
export class SafeError extends Error {}
