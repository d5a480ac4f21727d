/** Starts a runner, gives it a picture, says its process id once it is at it or done with it, and waits to be killed. */
import { startRunner } from '../../../shared/inference/runner-process.ts';
import { pictureInput, runnerOptions } from './fixture-models.ts';

const model = process.argv[2] ?? 'colours';
const runner = await startRunner(runnerOptions(model, { callTimeoutMs: 600_000 }));
const call = runner.infer(await pictureInput('#ffffff'));
if (model !== 'hangs') await call;
process.stdout.write(`${runner.pid}\n`);
await call;
setInterval(() => undefined, 1_000);
