/** Figures as verdicts of gates say them. */

/** A whole number: 12,300. */
export const amount = (value: number): string => Math.round(value).toLocaleString('en-US');
/** A share: 8.3 %. */
export const percent = (share: number): string => `${decimals(share)} %`;
/** A share that is a round one: 5 %. */
export const part = (share: number): string => `${Math.round(share * 100)} %`;
/** A difference of shares: 0.8 points. */
export const points = (difference: number): string => `${signed(difference)} points`;
/** … without its unit. */
export const signed = (difference: number): string =>
  `${difference < 0 ? '−' : ''}${decimals(Math.abs(difference))}`;
/** Memory: 123 MB. */
export const megabytes = (bytes: number): string => `${Math.round(bytes / 1e6)} MB`;

function decimals(share: number): string {
  const value = share * 100;
  return Number(value.toFixed(value < 1 ? 2 : 1)).toString();
}
