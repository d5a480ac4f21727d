/** All tables of a run, each with what it is about and what was required of it. Parts that were left out are left out here too. */
import type { Row } from '../results.ts';
import { compare } from './comparison.ts';
import { CERTIFICATES, DRIFT, FLEET, GUARANTEE, LABELS, STREAMS, section, TIMING } from './tables.ts';
import {
  driftVerdicts,
  fleetVerdicts,
  labelVerdicts,
  promiseVerdicts,
  streamVerdicts,
  timingVerdicts,
} from './verdicts.ts';

const ABOUT = {
  promise:
    '_Runs broken_: the evidence certified a threshold whose risk is above what is allowed, at any moment. _First certified_: requests until the first threshold, at the median. _Escalated_: what the threshold of that moment sends to the cloud, against the least that keeps the promise (_oracle_). _Wrong_: local answers that stood and disagree with the cloud, per 1,000 requests.',
  certificates:
    'A pair that brings a certificate keeps answers from the first request on. Its risk here is exact; a certificate was found on other data and may be wrong with 5 % probability, or on purpose. _In violation_: requests decided while the threshold in use, whoever certified it, had a risk above what is allowed.',
  fleet:
    '98 %. Devices come one after the other and answer 1,000 requests each; the tenth and the hundredth start from what those before them have seen, where that is enough, and learn on by their own replies as after any start. Each is held against the truth about itself: _broken_ is a start at which its own risk is above what is allowed. _Asked_: requests that went to the cloud, at the median. _Own evidence_: requests until its own evidence took over. Scores are log-odds, as the product’s are.',
  baselines:
    'Escalated / risk / share of runs in which the promise is broken. A fixed rule is right or wrong in every run. Fixed thresholds and Sedna’s rules act on the probabilities that the edge model reports; Sedna’s are written anew from their published behaviour, with a classification as one box. _Tuned_: on labels, once, by what was seen or by Clopper and Pearson’s bound. _Router_: after 20,000 requests.',
  drift:
    '40,000 requests at 98 %; the shift comes after 20,000, the gradual one from 10,000 to 30,000. Wrong answers, time in violation and the share escalated are those after the shift. _Delay_: requests until the first alarm, of either kind.',
  labels:
    'One label in 33 requests (3 %), on which 30 % of the local answers are wrong with full confidence; 98 %, 40,000 requests. The risk of a label is its share of wrong answers among its own requests.',
  streams:
    '98 %, 60,000 requests. Each scene repeats one request for as many frames as it lasts. Counted is what the ledger sees; the rest is decided by the same threshold.',
  timing: 'One learner, at 98 %, in processor time. On disk arrays are deflated, in base64.',
};

const PAIRS_LEFT_OUT =
  'The starter pairs are left out of this run: they are the part `pairs`, and need `--data`.';

/** All rows that a run found, as lines. */
export function sections(rows: readonly Row[]): string[] {
  const of = <K extends Row['kind']>(kind: K): Extract<Row, { kind: K }>[] =>
    rows.filter((row): row is Extract<Row, { kind: K }> => row.kind === kind);
  const guarantee = of('guarantee');
  const synthetic = guarantee.filter(({ part }) => part === 'synthetic');
  const pairs = guarantee.filter(({ part }) => part === 'pairs');
  const certified = guarantee.filter(({ certifiedRisk }) => certifiedRisk !== null);
  const [drift, labels, streams, timing] = [of('drift'), of('labels'), of('streams'), of('timing')];
  return [
    ...section({
      title: 'The promise, in synthetic worlds',
      about: ABOUT.promise,
      rows: synthetic,
      columns: GUARANTEE,
      verdicts: promiseVerdicts(synthetic),
    }),
    ...(pairs.length === 0 ? [PAIRS_LEFT_OUT, ''] : []),
    ...section({
      title: 'The promise, with the starter pairs',
      about: 'The same, with the real scores and answers of the starter pairs.',
      rows: pairs,
      columns: GUARANTEE,
      verdicts: promiseVerdicts(pairs),
    }),
    ...section({
      title: 'Starting from a certificate',
      about: ABOUT.certificates,
      rows: certified,
      columns: CERTIFICATES,
    }),
    ...section({
      title: 'Starting from the evidence of a fleet',
      about: ABOUT.fleet,
      rows: of('fleet'),
      columns: FLEET,
      verdicts: fleetVerdicts(of('fleet')),
    }),
    ...section({
      title: 'Against rules that learn nothing from replies',
      about: ABOUT.baselines,
      ...compare(of('baseline'), guarantee),
    }),
    ...section({
      title: 'A world that changes',
      about: ABOUT.drift,
      rows: drift,
      columns: DRIFT,
      verdicts: driftVerdicts(drift),
    }),
    ...section({
      title: 'A rare label',
      about: ABOUT.labels,
      rows: labels,
      columns: LABELS,
      verdicts: labelVerdicts(labels),
    }),
    ...section({
      title: 'Streams of scenes',
      about: ABOUT.streams,
      rows: streams,
      columns: STREAMS,
      verdicts: streamVerdicts(streams),
    }),
    ...section({
      title: 'What a decision costs',
      about: ABOUT.timing,
      rows: timing,
      columns: TIMING,
      verdicts: timingVerdicts(timing),
    }),
  ];
}
