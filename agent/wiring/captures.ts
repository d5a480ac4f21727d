/** What a router has learned from, kept where a pipeline asks for it: scores, answers and losses, no inputs (`route simulate`). */
import { join } from 'node:path';
import type { Capture } from '../../shared/contract/capture.ts';
import type { Lifecycle } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { Kept } from '../ports.ts';
import { FileSink } from '../sink/file-sink.ts';

/** @returns undefined where nothing is kept */
export async function captureOf(
  { name, route }: PipelineConfig,
  parts: {
    readonly dataDir: string;
    readonly lifecycle: Lifecycle;
    readonly logger: Logger;
    readonly keep: (kept: Kept) => void;
  },
): Promise<((capture: Capture) => void) | undefined> {
  if (!route.captures) return undefined;
  // The file and the one before it share the room.
  const maxBytes = route.captures.maxBytes / 2;
  const file = new FileSink({ path: join(parts.dataDir, 'captures', `${name}.ndjson`), maxBytes });
  parts.keep(file.kept('captures'));
  await parts.lifecycle.start(`captures of ${name}`, { stop: () => file.close() });
  return (capture) => {
    file
      .put(capture)
      .catch((error: unknown) => parts.logger.failure('captures.not_kept', error, { pipeline: name }));
  };
}
