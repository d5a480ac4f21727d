/** The end of a connection whose other side no longer reads: an end of the stream would wait for it like everything before. */

/** What the server puts beside a request. */
interface Bindings {
  readonly incoming?: { readonly socket?: { destroy(): void } };
}

/** @param env what the server has put there; without a socket, as in tests, nothing is cut off */
export function cutOff(env: unknown): void {
  (env as Bindings | undefined)?.incoming?.socket?.destroy();
}
