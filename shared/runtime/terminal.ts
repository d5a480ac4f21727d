/** Words from elsewhere (devices, models, file names) on a terminal: nothing of them steers it. */

/** Colours stay: the sequence that sets one, as picocolors writes it. Control characters and what turns the direction of writing go. */
const STEERING = /(?![\n\t])\p{Cc}(?:\[\d{1,2}m)?|[\u202a-\u202e\u2066-\u2069]/gu;

/** The text as a terminal may have it; a replacement character stands where something was. */
export const forTerminal = (text: string): string =>
  text.replace(STEERING, (found) => (found.startsWith('\u001b[') ? found : `\ufffd${found.slice(1)}`));

/** JSON that a terminal may have: what JSON leaves as it is and a terminal would take for a command is escaped. */
export const jsonForTerminal = (value: unknown, indent?: number): string =>
  JSON.stringify(value, null, indent).replace(
    /[\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
