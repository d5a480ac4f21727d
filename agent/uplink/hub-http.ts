/** What the agent asks the hub over HTTP, with its own credential as Bearer. */
import { z } from 'zod';
import { type Desired, desired } from '../../shared/contract/messages.ts';
import { AppError, ERROR_CODES } from '../../shared/runtime/errors.ts';

const TIMEOUT_MS = 10_000;
const problemCode = z.object({ code: z.enum(ERROR_CODES), detail: z.string() });

/** @throws HUB_UNREACHABLE, HUB_FAILED, or what the hub says */
export async function fetchDesired(hubUrl: string, secret: string): Promise<Desired> {
  const url = new URL('/api/v1/devices/self/desired', hubUrl);
  let response: Response;
  try {
    response = await fetch(url, {
      headers: { authorization: `Bearer ${secret}` },
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
  } catch (error) {
    throw new AppError('HUB_UNREACHABLE', `the hub at ${url.origin} does not answer`, { cause: error });
  }
  const json: unknown = await response.json().catch(() => undefined);
  const wanted = response.ok ? desired.safeParse(json) : undefined;
  if (wanted?.success) return wanted.data;
  const problem = problemCode.safeParse(json);
  if (problem.success) throw new AppError(problem.data.code, problem.data.detail);
  throw new AppError('HUB_FAILED', `the hub at ${url.origin} answered ${response.status}`);
}
