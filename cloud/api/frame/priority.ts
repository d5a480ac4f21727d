/** How urgent a request over HTTP is, by a header that every face takes: whoever asks for many things at once can let others go first. */
import type { Context } from 'hono';
import { z } from 'zod';
import { AppError } from '../../../shared/runtime/errors.ts';
import type { KeyHolder } from '../../ports.ts';

const asked = z.enum(['interactive', 'background']);

/** Header of what a model answers, as the document says it. */
export const PRIORITY_HEADER = {
  'Outrider-Priority': {
    what: '`background`: others go first, and nobody waits for this one; `interactive` when left out',
    schema: asked,
  },
} as const;

/** The holder of a key, with what this request says of itself. @throws BAD_REQUEST */
export function withPriority(c: Context, holder: KeyHolder): KeyHolder {
  const text = c.req.header('outrider-priority');
  if (text === undefined) return holder;
  const parsed = asked.safeParse(text);
  if (!parsed.success) throw new AppError('BAD_REQUEST', `Outrider-Priority: ${asked.options.join(' or ')}`);
  return { ...holder, priority: parsed.data };
}
