/** Vectors of texts that were asked about before, the longest unused going first. */
export class VectorCache {
  readonly #maxNumbers: number;
  readonly #vectors = new Map<string, Float32Array>();
  #numbers = 0;

  /** @param maxNumbers of all vectors together */
  constructor(maxNumbers: number) {
    this.#maxNumbers = maxNumbers;
  }

  get(text: string): Float32Array | undefined {
    const found = this.#vectors.get(text);
    if (found === undefined) return undefined;
    this.#vectors.delete(text);
    this.#vectors.set(text, found);
    return found;
  }

  put(text: string, vector: Float32Array): void {
    this.#numbers += vector.length - (this.#vectors.get(text)?.length ?? 0);
    this.#vectors.delete(text);
    this.#vectors.set(text, vector);
    for (const [oldest, { length }] of this.#vectors) {
      if (this.#numbers <= this.#maxNumbers) return;
      this.#vectors.delete(oldest);
      this.#numbers -= length;
    }
  }
}
