/** Starts a runner, gives it a picture, says its process id, and waits to be killed. */
import { startRunner } from '../../../shared/inference/runner-process.ts';
import { pictureInput, runnerOptions } from './fixture-models.ts';

const runner = await startRunner(runnerOptions(process.argv[2] ?? 'colours', { callTimeoutMs: 60_000 }));
const call = runner.infer(await pictureInput('#ffffff'));
process.stdout.write(`${runner.pid}\n`);
await call;
setInterval(() => undefined, 1_000);
