/** KServe's own model server, the Open Inference server in Python, with a graph of ours behind it. */
import { spawn, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryFolder } from './fixed.ts';
import { freePort } from './ports.ts';
import { eventually } from './programs.ts';

const PYTHON = process.env.OUTRIDER_KSERVE_PYTHON ?? '.kserve/bin/python';
export const HOW_TO_GET_KSERVE =
  'KServe: python3.11 -m venv .kserve && .kserve/bin/pip install kserve==0.21.0 onnxruntime (or name its Python in OUTRIDER_KSERVE_PYTHON)';
export const hasKServe = (): boolean => spawnSync(PYTHON, ['-c', 'import kserve, onnxruntime']).status === 0;

const SERVER = `
import sys
import numpy as np, onnxruntime as ort
from kserve import InferOutput, InferResponse, Model, ModelServer

class Onnx(Model):
    def __init__(self, name, graph):
        super().__init__(name)
        self.session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        feeds = {one.name: one.as_numpy().astype(np.float32) for one in payload.inputs}
        found = self.session.run(None, feeds)[0]
        output = InferOutput(name="logits", shape=list(found.shape), datatype="FP32")
        output.set_data_from_numpy(found, binary_data=False)
        return InferResponse(response_id="0", model_name=self.name, infer_outputs=[output])

ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([Onnx(sys.argv[2], sys.argv[3])])
`;
const PATIENCE_MS = 60_000;

/** Ends with the test. @param graph an ONNX file of floats with the output `logits` @returns its address */
export async function startKServe(t: TestContext, name: string, graph: string): Promise<string> {
  const [folder, port] = [await temporaryFolder(t), await freePort()];
  const program = join(folder, 'server.py');
  await writeFile(program, SERVER);
  const child = spawn(resolve(PYTHON), [program, String(port), name, graph], {
    ...{ cwd: folder, stdio: 'ignore' },
  });
  t.after(() => child.kill('SIGKILL'));
  const url = `http://127.0.0.1:${port}`;
  const isReady = async (): Promise<boolean> =>
    (await fetch(`${url}/v2/models/${name}/ready`).catch(() => undefined))?.ok === true;
  await eventually(isReady, 'KServe did not get ready', PATIENCE_MS);
  return url;
}
