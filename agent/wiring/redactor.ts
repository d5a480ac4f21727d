/** What a pipeline takes out of texts before they leave. */
import type { PipelineConfig } from '../config/pipeline.ts';
import type { Redactor } from '../ports.ts';

/** Loads what it takes to find such texts only where something is to be found. @throws CONFIG_INVALID */
export async function redactorOf({ name, task, redact }: PipelineConfig): Promise<Redactor | undefined> {
  if (redact.length === 0) return undefined;
  const { openRedaction } = await import('../privacy/redaction.ts');
  return openRedaction(redact, { task, at: `pipeline ${name}: redact` });
}
