/** A time of each day in which something may happen: `01:00-05:00`, also across midnight, in a time zone. */

const WINDOW = /^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)$/;

/** Whether the text is such a window. */
export const isDailyWindow = (text: string): boolean => WINDOW.test(text);

/**
 * Whether a point in time lies in it: from the first minute on, up to the second one.
 *
 * @param window has passed `isDailyWindow`
 * @param timeZone IANA name; the machine's own when left out
 */
export function isInDailyWindow(window: string, atMs: number, timeZone?: string): boolean {
  const [, fromHour = '', fromMinute = '', toHour = '', toMinute = ''] = WINDOW.exec(window) ?? [];
  const clock = new Intl.DateTimeFormat('en-GB', {
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...(timeZone !== undefined && { timeZone }),
  }).format(atMs);
  const [from, to] = [`${fromHour}:${fromMinute}`, `${toHour}:${toMinute}`];
  return from <= to ? from <= clock && clock < to : clock >= from || clock < to;
}
