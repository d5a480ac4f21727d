/** A whole task on an OpenAI-compatible server, asked without a hub around it. */
import type { TestContext } from 'node:test';
import { OpenAiInferencer } from '../../cloud/engine/remote/openai-inferencer.ts';
import type { InferenceReply } from '../../cloud/ports.ts';
import { EngineHttp } from '../../shared/inference/remote/engine-http.ts';
import { systemClock as clock } from '../../shared/runtime/clock.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';

export interface OpenAiAsker {
  /** @param onText hears pieces; undefined: the answer comes whole */
  ask(
    body: string,
    parameters?: Readonly<Record<string, unknown>>,
    onText?: (text: string) => void,
  ): Promise<InferenceReply>;
}

/** Ends with the test. @param url without `/v1` */
export function openAiAsker(
  t: TestContext,
  o: { url: string; key: string; task?: TaskName; remoteName: string; timeoutMs?: number },
): OpenAiAsker {
  const { timeoutMs = 60_000, task = 'text-generation' } = o;
  const http = new EngineHttp({ url: `${o.url}/v1`, key: o.key, ca: null, timeoutMs });
  t.after(() => http.close());
  const ref = { name: 'far', version: '1', digest: 'f'.repeat(64) };
  const inferencer = new OpenAiInferencer({
    ...{ http, remoteName: o.remoteName, timeoutMs, clock },
    catalog: { resolve: () => ({ folder: '', ref, task }) },
  });
  return {
    ask: (body, parameters = {}, onText) =>
      inferencer.infer({
        ...{ model: 'far', caller: 'key a' },
        input: { contentType: 'text/plain', body: Buffer.from(body), parameters },
        ...{ deadlineMonoMs: clock.nowMonoMs(), expiresMonoMs: clock.nowMonoMs() + 120_000 },
        ...(onText && { onToken: ({ text }) => onText(text) }),
      }),
  };
}
