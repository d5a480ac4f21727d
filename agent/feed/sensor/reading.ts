/** What a sensor's message or line says: numbers and times, in the ways in which devices write them. Pure. */

/** Words that devices write for a switch. */
const SWITCHES: ReadonlyMap<string, number> = new Map([
  ...['on', 'true', 'open', 'yes'].map((word) => [word, 1] as const),
  ...['off', 'false', 'closed', 'no'].map((word) => [word, 0] as const),
]);
const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
/** The longest text that may be a number; `1e-300` to 17 digits has 24. */
const MAX_NUMBER_CHARACTERS = 64;

/**
 * A number; a text that is wholly one (`"21.5"`), `true` and `"ON"` count as such.
 *
 * @returns undefined for anything else, NaN and Infinity among it
 */
export function numberOf(value: unknown): number | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined;
  if (typeof value === 'boolean') return value ? 1 : 0;
  if (typeof value !== 'string' || value.length > MAX_NUMBER_CHARACTERS) return undefined;
  const text = value.trim();
  if (!DECIMAL.test(text)) return SWITCHES.get(text.toLowerCase());
  const number = Number(text);
  return Number.isFinite(number) ? number : undefined;
}

/** 1e11 s is the year 5138, 1e11 ms is 1973; 1e14 ms is 5138, 1e14 µs is 1973. */
const FIRST_MS = 1e11;
const FIRST_US = 1e14;
const FIRST_NS = 1e17;

/**
 * A point in time: seconds, milliseconds, micro- or nanoseconds since 1970 as a number, or ISO 8601 (without a zone it is this machine's).
 *
 * @returns milliseconds since 1970; undefined for anything else
 */
export function timeOf(value: unknown): number | undefined {
  const number = typeof value === 'boolean' ? undefined : numberOf(value);
  if (number !== undefined) return epochMs(number);
  if (typeof value !== 'string' || !/^\d{4}-\d\d-\d\d/.test(value)) return undefined;
  const atMs = Date.parse(value.trim().replace(' ', 'T'));
  return Number.isNaN(atMs) ? undefined : atMs;
}

function epochMs(number: number): number {
  if (number >= FIRST_NS) return number / 1e6;
  if (number >= FIRST_US) return number / 1e3;
  return number >= FIRST_MS ? number : number * 1e3;
}

/** A device whose clock differs more from ours has none that can be used. */
const MAX_SKEW_MS = 24 * 3_600_000;
/** Before 2025 our own clock is not set (a device without a battery, at its start): it can't be a judge. */
const CLOCK_IS_SET_AT_MS = Date.UTC(2025, 0, 1);

/** Whether a device's time may be one of now. */
export const isPlausible = (atMs: number, nowAtMs: number): boolean =>
  nowAtMs < CLOCK_IS_SET_AT_MS ? atMs > 0 : Math.abs(atMs - nowAtMs) <= MAX_SKEW_MS;
