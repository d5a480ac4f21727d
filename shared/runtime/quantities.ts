/** Quantities as people write them: durations and sizes with their units. */
import { z } from 'zod';

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** `2s`, `24h`, … as milliseconds. */
export const duration = z
  .string()
  .regex(/^\d+(\.\d+)?(ms|s|m|h|d)$/, 'a duration such as 500ms, 2s, 5m, 24h')
  .transform((text) => quantity(text, UNIT_MS));
/** `50MB`, `64KiB`, … as bytes. */
export const size = z
  .string()
  .regex(/^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)$/, 'a size such as 512KiB, 50MB, 1GB')
  .transform((text) => quantity(text, UNIT_BYTES));

/** `500KB/s`, … as bytes a second. */
export const rate = z
  .string()
  .regex(/^\d+(\.\d+)?(B|KB|MB|GB|KiB|MiB|GiB)\/s$/, 'a rate such as 64KB/s, 500KB/s, 2MB/s')
  .transform((text) => quantity(text.slice(0, -2), UNIT_BYTES));

function quantity(text: string, units: Record<string, number>): number {
  const [, number = '', unit = ''] = /^([\d.]+)(\w+)$/.exec(text) ?? [];
  return Number(number) * (units[unit] ?? 1);
}
