/** Sends a request where its model runs: to the hub's own batcher and runners, or to what runs the whole task elsewhere. */
import type { InferenceReply, InferenceRequest, Inferencer } from '../ports.ts';

/** Inferencer of the hub itself, and those of models that run elsewhere. */
export interface InferencerByModelOptions {
  /** Every model that is not named below. */
  readonly here: Inferencer;
  /** By model name. */
  readonly elsewhere: Pick<ReadonlyMap<string, Inferencer>, 'get'>;
}

/** One door in front of all inferencers. */
export class InferencerByModel implements Inferencer {
  readonly #o: InferencerByModelOptions;

  constructor(options: InferencerByModelOptions) {
    this.#o = options;
  }

  infer(request: InferenceRequest): Promise<InferenceReply> {
    return (this.#o.elsewhere.get(request.model) ?? this.#o.here).infer(request);
  }
}
