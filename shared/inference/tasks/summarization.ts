/** `summarization`: a long text becomes a short one. */

import { summarizationParameters } from '../../tasks/summarization/schema.ts';
import { loadTextToText, type PreparedText } from '../generation/text-to-text.ts';
import type { ModelSource, TaskModel } from '../runner/task-model.ts';

/** Loads a model of `summarization`. @throws MODEL_INVALID */
export const loadSummarization = (source: ModelSource): Promise<TaskModel<PreparedText>> =>
  loadTextToText(source, {
    name: 'summarization',
    parametersOf: (given) => summarizationParameters.parse(given),
    outputOf: (written) => ({ summary_text: written }),
  });
