/**
 * Reads a time of ISO 8601 such as `2026-03-14T09:00Z`. An explicit time zone is required: that of the machine is never
 * assumed.
 *
 * @returns milliseconds since 1970; undefined for anything else, such as the 31st of February
 */
export function zonedTime(text: string): number | undefined {
  if (!ZONED.test(text)) return undefined;
  const time = Date.parse(text);
  return Number.isNaN(time) || !isOnCalendar(text.slice(0, 10)) ? undefined : time;
}

const ZONED = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d)$/;

/** `Date.parse` takes the 31st of February for the 3rd of March. */
function isOnCalendar(day: string): boolean {
  const midnight = Date.parse(`${day}T00:00Z`);
  return !Number.isNaN(midnight) && new Date(midnight).toISOString().startsWith(day);
}
