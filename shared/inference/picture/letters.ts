/**
 * Letters of 5 by 8 dots, as small displays have them: a device may have no font, and libvips draws nothing of a text then. Printable ASCII;
 * five bytes each from the left, the lowest bit on top. Pure.
 */
const DOTS = Buffer.from(
  [
    '000000000000005f00000007000700147f147f14242a7f2a12231308646236495620500008070300001c2241000041221c00',
    '2a1c7f1c2a08083e080800807030000808080808000060600020100804023e5149453e00427f400072494949462141494d33',
    '1814127f1027454545393c4a49493141211109073649494936464949291e0000140000004034000000081422411414141414',
    '004122140802015909063e415d594e7c1211127c7f494949363e414141227f4141413e7f494949417f090909013e41415173',
    '7f0808087f00417f41002040413f017f081422417f404040407f021c027f7f0408107f3e4141413e7f090909063e4151215e',
    '7f09192946264949493203017f01033f4040403f1f2040201f3f4038403f631408146303047804036159494d43007f414141',
    '0204081020004141417f04020102044040404040000307080020545478407f284444383844444428384444287f3854545418',
    '00087e090218a4a49c787f0804047800447d40002040403d007f1028440000417f40007c047804787c080404783844444438',
    'fc1824241818242418fc7c08040408485454542404043f44243c4040207c1c2040201c3c4030403c44281028444c9090907c',
    '4464544c440008364100000077000000413608000201020402',
  ].join(''),
  'hex',
);

/** Dots from the left of one letter to that of the next. */
export const LETTER_WIDTH = 6;
/** Dots of a letter, from its top to the end of what hangs below the line. */
export const LETTER_HEIGHT = 8;
const FIRST = 0x20;
const COLUMNS = 5;
const UNKNOWN = '?'.charCodeAt(0);

/**
 * The dots of a text as an SVG path, each of `size` px; accents are left out, letters that are not there are question marks.
 *
 * @param x left edge @param y upper edge
 */
export function letterPath(text: string, x: number, y: number, size: number): string {
  const squares: string[] = [];
  const plain = text.normalize('NFKD').replace(/\p{M}/gu, '');
  for (const [index, letter] of Array.from(plain).entries()) {
    const at = ((/^[ -~]$/.test(letter) ? letter.charCodeAt(0) : UNKNOWN) - FIRST) * COLUMNS;
    for (let column = 0; column < COLUMNS; column++) {
      const left = x + (index * LETTER_WIDTH + column) * size;
      for (const { from, rows } of runsOf(DOTS[at + column] ?? 0))
        squares.push(`M${left} ${y + from * size}h${size}v${rows * size}h-${size}z`);
    }
  }
  return squares.join('');
}

/** The dots of a column that stand below each other: to draw one bar is a third of the work. */
function* runsOf(column: number): Generator<{ readonly from: number; readonly rows: number }> {
  for (let row = 0; row < LETTER_HEIGHT; row++) {
    const from = row;
    while ((column & (1 << row)) !== 0) row++;
    if (row > from) yield { from, rows: row - from };
  }
}
