/** Starts a runner, gives it a picture, says its process id, and how the call has ended; waits to be killed. */
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import { toAppError } from '../../../shared/runtime/errors.ts';
import { pictureInput, runnerOptions } from './fixture-models.ts';

const [model = 'colours', maxRssBytes] = process.argv.slice(2);
const limits = { callTimeoutMs: 60_000, maxRssBytes: Number(maxRssBytes) };
const runner = await startRunner(runnerOptions(model, limits));
const call = runner.infer(await pictureInput('#ffffff'));
process.stdout.write(`${runner.pid}\n`);
await call.then(
  () => process.stdout.write('answered\n'),
  (error: unknown) => {
    const { code, message } = toAppError(error);
    process.stdout.write(`${code} ${message}\n`);
  },
);
setInterval(() => undefined, 1_000);
