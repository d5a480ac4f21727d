/** From a graph's logits to answers, as `config.json` and `outrider.json` say; the last step of every classification task. */
import { basename } from 'node:path';
import { type ClassifierConfig, labelsInOrder } from '../../release/folder/model-files.ts';
import { AppError } from '../../runtime/errors.ts';
import { classify, ROUTE_SCORE_FLOOR, routeScoreOf, type ScoreFunction } from '../../tasks/classification.ts';
import { type ClassificationParameters, classificationParameters } from '../../tasks/forms/labels.ts';
import type { TaskInput } from '../../tasks/tasks.ts';
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
}

/** Logits f32[C] to labels, scores and a route score, with the labels and the temperature of one model. */
export class ClassificationHead {
  readonly #where: string;
  readonly #labels: readonly string[];
  readonly #areIndependent: boolean;
  readonly #temperature: number;

  /** @throws MODEL_INVALID */
  constructor({ folder, spec }: ModelSource, config: ClassifierConfig) {
    this.#where = basename(folder);
    this.#labels = labelsInOrder(folder, config);
    // As transformers' pipelines decide it.
    this.#areIndependent = config.problem_type === 'multi_label_classification' || this.#labels.length === 1;
    this.#temperature = spec.calibration.labels?.temperature ?? 1;
  }

  /**
   * @param logits f32[C], of one row
   * @throws MODEL_INVALID when the graph's C is not the number of labels
   */
  answer({ data: logits, dims }: Floats, { parameters, isUnsure, isCut = false }: Row): Answer {
    const count = this.#labels.length;
    if (dims.length !== 1 || dims[0] !== count)
      throw new AppError(
        'MODEL_INVALID',
        `${this.#where}: the graph gives [${dims}] for an input, config.json names ${count} labels`,
      );
    const own: ScoreFunction = this.#areIndependent ? 'sigmoid' : 'softmax';
    return {
      output: classify(logits, {
        labels: this.#labels,
        apply: parameters.function_to_apply ?? own,
        temperature: this.#temperature,
        topK: parameters.top_k ?? DEFAULT_TOP_K,
      }),
      ...(isCut && { isCut }),
      routeScore: isUnsure || isCut ? ROUTE_SCORE_FLOOR : routeScoreOf(logits, this.#areIndependent),
    };
  }
}

/** The parameters of an input that passed `checkInput`, typed. */
export const parametersOf = (input: TaskInput): ClassificationParameters =>
  classificationParameters.parse(input.parameters ?? {});
