import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openTokenStream } from '../../../../../cloud/api/hugging-face/token-stream.ts';
import { AppError } from '../../../../../shared/runtime/errors.ts';

test('a generation that fails on its way says so as an event, with its code and no path of the hub', async () => {
  const stream = await openTokenStream({
    async ask({ onToken }) {
      onToken({ id: 1, text: 'A', logprob: 0, special: false }, false);
      throw new AppError(
        'MODEL_INVALID',
        '/var/lib/outrider/hub/models/words/onnx/model.onnx cannot be read',
      );
    },
    callerSignal: new AbortController().signal,
    toEvent: ({ token }) => token.text,
  });
  assert.equal(
    await new Response(stream).text(),
    'data: "A"\n\ndata: {"error":"model.onnx cannot be read","error_type":"MODEL_INVALID"}\n\n',
  );
});
