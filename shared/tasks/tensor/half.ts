/** Half precision (IEEE 754 binary16), which Node 20 has no array for. Pure. */

/** 5 bits of exponent, 10 of fraction. */
const FRACTION = 1024;

/** @param bits u16 */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  // Subnormal numbers lack the leading one.
  if (exponent === 0) return sign * 2 ** -14 * (fraction / FRACTION);
  return sign * 2 ** (exponent - 15) * (1 + fraction / FRACTION);
}

/** Rounds f32 to f16, to the nearest, ties to even; what is too large becomes infinite. @returns u16 */
export function toHalf(value: number): number {
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size >= 65_520) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.min(15, Math.floor(Math.log2(size || Number.MIN_VALUE))));
  // Rounding may carry into the exponent: as integers the two simply add up.
  const units = roundToEven(size / 2 ** (exponent - 10));
  return exponent === -14 ? sign | units : sign | (units + (exponent + 14) * FRACTION);
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below;
}
