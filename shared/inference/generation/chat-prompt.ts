/**
 * The prompt of a chat: messages, put together by the template that the model's folder has. A template is a program of whoever made
 * the model (Jinja, run by `@huggingface/jinja`, which reaches nothing outside of it); it runs in the runner, whose watchdog ends one
 * that does not end.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError, systemCode } from '../../runtime/errors.ts';
import { tryParseJson } from '../../runtime/json.ts';
import { chatMessages } from '../../tasks/text-generation/schema.ts';
import { firstLine } from '../graph/runtime-message.ts';
import type { Tokens } from './tokens.ts';

/**
 * From the JSON of `chatMessages` to the prompt, special tokens included.
 *
 * @throws INPUT_INVALID (no messages, or none that the template takes), BAD_REQUEST (the folder has no template)
 */
export type ChatPrompt = (json: string) => string;

/** Newer folders have their template in a file of its own. */
const TEMPLATE_FILE = 'chat_template.jinja';

/** @throws FILE_UNREADABLE */
export async function loadChatPrompt(folder: string, { library }: Tokens): Promise<ChatPrompt> {
  const ownFile = await readFile(join(folder, TEMPLATE_FILE), 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  return (json) => {
    if (ownFile === undefined && !library.chat_template)
      throw new AppError(
        'BAD_REQUEST',
        `this model has no chat template (chat_template in tokenizer_config.json, or ${TEMPLATE_FILE}): ask for a completion of a text`,
      );
    const messages = chatMessages.safeParse(tryParseJson(Buffer.from(json)));
    if (!messages.success)
      throw new AppError(
        'INPUT_INVALID',
        'a chat is a JSON list of messages: {"role": string, "content": string}',
      );
    try {
      return library.apply_chat_template(messages.data, {
        tokenize: false,
        add_generation_prompt: true,
        ...(ownFile !== undefined && { chat_template: ownFile }),
      });
    } catch (error) {
      // Most templates refuse roles in an order that the model has not been taught.
      throw new AppError(
        'INPUT_INVALID',
        `the model’s chat template refuses these messages: ${firstLine(error)}`,
        {
          cause: error,
        },
      );
    }
  };
}
