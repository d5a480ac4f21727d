/** From a graph's logits to answers, as `config.json` and `outrider.json` say; the last step of every classification task. */
import { basename } from 'node:path';
import { type ClassifierConfig, labelsInOrder } from '../../release/folder/model-files.ts';
import type { GraphEnd } from '../../release/import/graph-end.ts';
import { AppError } from '../../runtime/errors.ts';
import { classify, ROUTE_SCORE_FLOOR, routeScoreOf, type ScoreFunction } from '../../tasks/classification.ts';
import { type ClassificationParameters, classificationParameters } from '../../tasks/forms/labels.ts';
import type { TaskInput } from '../../tasks/tasks.ts';
import { requireFinite } from '../graph/finite.ts';
import { logitsOf } from '../graph/logits.ts';
import type { Answer, ModelSource } from '../runner/task-model.ts';
import type { Floats } from '../tensor/floats.ts';

/** Hugging Face's default for classification pipelines. */
const DEFAULT_TOP_K = 5;

/** Row of a batch: what it brings along beside its logits. */
export interface Row {
  readonly parameters: ClassificationParameters;
  /** The model knows too little of the input to be trusted, whatever its logits say. */
  readonly isUnsure: boolean;
  /** It has not read all of the input: not to be trusted either. */
  readonly isCut?: boolean;
  /** `scoreByChance` of the input, for a model that says nothing of how sure it is. */
  readonly chance: number;
}

/** Logits f32[C] to labels, scores and a route score, with the labels and the temperature of one model. */
export class ClassificationHead {
  readonly #where: string;
  readonly #labels: readonly string[];
  readonly #own: ScoreFunction;
  readonly #end: GraphEnd;
  readonly #temperature: number;

  /**
   * @param end what the graph has made of its logits
   * @throws MODEL_INVALID
   */
  constructor({ folder, spec }: ModelSource, config: ClassifierConfig, end: GraphEnd) {
    this.#where = basename(folder);
    this.#labels = labelsInOrder(folder, config);
    this.#end = end;
    this.#own = ownFunction(config.problem_type, this.#labels.length, end);
    this.#temperature = spec.calibration.labels?.temperature ?? 1;
  }

  /**
   * @param logits f32[C], of one row
   * @throws MODEL_INVALID when the graph's C is not the number of labels
   */
  answer(given: Floats, { parameters, isUnsure, isCut = false, chance }: Row): Answer {
    const { dims } = given;
    const count = this.#labels.length;
    if (dims.length !== 1 || dims[0] !== count)
      throw new AppError(
        'MODEL_INVALID',
        `${this.#where}: the graph gives [${dims}] for an input, config.json names ${count} labels`,
      );
    requireFinite(given.data, 'the logits');
    const apply = parameters.function_to_apply ?? this.#own;
    const logits = logitsOf(given, this.#end).data;
    return {
      // What the graph has done already is not done again; anything else is done to its numbers as they are, as in Python.
      output: classify(apply === this.#end ? logits : given.data, {
        labels: this.#labels,
        apply,
        temperature: this.#temperature,
        topK: parameters.top_k ?? DEFAULT_TOP_K,
      }),
      ...(isCut && { isCut }),
      routeScore: isUnsure || isCut ? ROUTE_SCORE_FLOOR : this.#routeScore(logits, chance),
    };
  }

  #routeScore(logits: Float32Array, chance: number): number {
    // A number on a scale of its own says nothing of how sure it is.
    return this.#own === 'none' ? chance : routeScoreOf(logits, this.#own === 'sigmoid');
  }
}

/** As transformers' pipelines decide it, but for a graph that has decided it itself. */
function ownFunction(problem: string | null | undefined, labels: number, end: GraphEnd): ScoreFunction {
  if (problem === 'regression') return 'none';
  if (end !== undefined) return end;
  return problem === 'multi_label_classification' || labels === 1 ? 'sigmoid' : 'softmax';
}

/** The parameters of an input that passed `checkInput`, typed. */
export const parametersOf = (input: TaskInput): ClassificationParameters =>
  classificationParameters.parse(input.parameters ?? {});
