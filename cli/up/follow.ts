/** The Results of the device, as they come. */
import { createParser } from 'eventsource-parser';
import { result as resultSchema } from '../../shared/contract/result.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { View } from './live-view.ts';

/** The agent's stream, taken up again when the agent restarts. */
export async function follow(agentUrl: string, view: View, signal: AbortSignal): Promise<void> {
  const seen = new Map<string, string>();
  while (!signal.aborted) {
    try {
      const response = await fetch(`${agentUrl}/v1/results`, { signal });
      const parser = createParser({
        onEvent: ({ data }) => {
          const parsed = resultSchema.safeParse(tryParseJson(Buffer.from(data)));
          // A new connection tells again what is kept.
          if (!parsed.success || seen.get(parsed.data.id) === data) return;
          seen.set(parsed.data.id, data);
          if (seen.size > MAX_SEEN) seen.delete(seen.keys().next().value ?? '');
          view.add(parsed.data);
        },
      });
      const decoder = new TextDecoder();
      for await (const chunk of response.body ?? []) parser.feed(decoder.decode(chunk, { stream: true }));
    } catch {
      // Cut off: the agent is restarting, or we are stopping.
    }
    await clock.sleep(300, signal).catch(() => undefined);
  }
}

const MAX_SEEN = 5_000;
