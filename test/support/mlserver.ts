/** MLServer, the Open Inference server of others that pip brings, with a graph of ours behind it. */
import { spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually } from './programs.ts';

const PYTHON = process.env.OUTRIDER_MLSERVER_PYTHON ?? '.mlserver/bin/python';
export const HOW_TO_GET_MLSERVER =
  'MLServer: python3.11 -m venv .mlserver && .mlserver/bin/pip install mlserver==1.7.1 onnxruntime (or name its Python in OUTRIDER_MLSERVER_PYTHON)';
export const hasMlServer = (): boolean =>
  spawnSync(PYTHON, ['-c', 'import mlserver, onnxruntime']).status === 0;

const RUNTIME = `
import numpy as np, onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse

class Onnx(MLModel):
    async def load(self):
        self.session = ort.InferenceSession(self.settings.parameters.uri, providers=["CPUExecutionProvider"])
        return True

    async def predict(self, request):
        feeds = {one.name: NumpyCodec.decode_input(one).astype(np.float32) for one in request.inputs}
        found = self.session.run(None, feeds)[0]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("logits", found)])
`;
const PATIENCE_MS = 60_000;

/** Ends with the test. @param graph an ONNX file of floats with the output `logits` @returns its address */
export async function startMlServer(t: TestContext, name: string, graph: string): Promise<string> {
  const folder = await temporaryFolder(t);
  const [port, grpc, metrics] = [await freePort(), await freePort(), await freePort()];
  await writeFile(join(folder, 'runtime.py'), RUNTIME);
  await writeFile(
    join(folder, 'settings.json'),
    JSON.stringify({
      host: '127.0.0.1',
      http_port: port,
      grpc_port: grpc,
      metrics_port: metrics,
      parallel_workers: 0,
      debug: false,
    }),
  );
  await writeFile(
    join(folder, 'model-settings.json'),
    JSON.stringify({ name, implementation: 'runtime.Onnx', parameters: { uri: graph, version: 'v1' } }),
  );
  const child = spawn(resolve(dirname(PYTHON), 'mlserver'), ['start', '.'], { cwd: folder, stdio: 'ignore' });
  t.after(() => child.kill('SIGTERM'));
  const url = `http://127.0.0.1:${port}`;
  const isReady = async (): Promise<boolean> =>
    (await fetch(`${url}/v2/models/${name}/ready`).catch(() => undefined))?.ok === true;
  await eventually(isReady, 'MLServer did not get ready', PATIENCE_MS);
  return url;
}
