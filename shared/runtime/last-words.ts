/** What a program that has ended said last, on stderr. */

/** Of a crash's output, the line that names the error; the rest is stack and version. Undefined: it has said nothing. */
export function tellingLine(output: string): string | undefined {
  const lines = output
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1);
}
