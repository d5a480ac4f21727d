/** Answers of `automatic-speech-recognition`: transcripts, compared by their words. Pure. */
import { shownAs } from '../judging/shown.ts';
import { smallestSound } from '../judging/smallest.ts';
import { differenceOfTexts, lossOfTexts, routeScoreOfTexts } from '../judging/texts.ts';
import type { AnswerTable, Judge } from '../task.ts';
import { type Recognized, recognized } from './schema.ts';

/** The judge of `automatic-speech-recognition`. */
export const speechRecognitionJudge: Judge = {
  lossOf: lossOfTexts,
  routeScoreOf: routeScoreOfTexts,
  differenceOf: differenceOfTexts,
  smallestInput: smallestSound,
  shown: shownAs(recognized, shownSpeech),
};

/** The text; a row a part where there are time stamps. */
function shownSpeech({ text, chunks }: Recognized): string | AnswerTable {
  if (!chunks) return text;
  return {
    head: ['from', 'to', 'text'],
    rows: chunks.map(({ timestamp: [from, to], text: part }) => [seconds(from), seconds(to), part]),
  };
}

const seconds = (value: number | null | undefined): string => (value == null ? '' : `${value.toFixed(2)} s`);
