/**
 * Python's clients against the hub: Triton's, in JSON and in binary; Hugging Face's and LangChain's; a client that is generated from the
 * document; and Schemathesis, which makes requests up from it and holds the answers to it. They lie in a virtual environment that
 * `.ci/run` makes.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { HubServer } from '../../cloud/api/frame/server.ts';
import type { TaskName } from '../../shared/tasks/tasks.ts';
import { goodPicture } from '../support/bad-inputs.ts';
import { CANNED_ANSWERS } from '../support/canned-answers.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { GENERATION, references, startGenerationHub } from '../support/generation.ts';
import { startHubApi, type TestHubApi } from '../support/hub-api.ts';
import { startHubProgram } from '../support/hub-program.ts';

/** A virtual environment with what test/support/clients.txt lists. */
const venv = resolve(process.env.OUTRIDER_CLIENTS_VENV ?? '.venv');
const missing =
  spawnSync(join(venv, 'bin', 'python'), ['-c', 'import tritonclient.http, schemathesis']).status !== 0;
/** Of one client. */
const TIMEOUT_MS = 200_000;

const run = promisify(execFile);
const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url));
const CLIENTS = fileURLToPath(new URL('../support/clients/', import.meta.url));

/** The API of a hub on a socket, until the test ends. @returns its address, and its admin's key */
async function serve(t: TestContext, hub: TestHubApi): Promise<{ url: string; key: string }> {
  const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
  await server.start();
  t.after(async () => {
    await server.stop();
    await hub.stop();
  });
  return { url: `http://127.0.0.1:${server.port}`, key: hub.adminKey };
}

/** Why a test is left out; false where Python has these modules. */
function lacks(...modules: string[]): string | false {
  const { status } = spawnSync(join(venv, 'bin', 'python'), ['-c', `import ${modules.join(', ')}`]);
  return status !== 0 && `${venv} lacks ${modules.join(' or ')} of test/support/clients.txt`;
}

describe('Python’s clients', {
  skip: missing && `there is no Python with test/support/clients.txt in ${venv}`,
}, () => {
  it('tritonclient reads metadata and gets the same answers in JSON and in binary', async (t) => {
    const hub = await startHubProgram(t);
    const folder = await temporaryFolder(t);
    const [script, picture] = [join(folder, 'ask.py'), join(folder, 'picture')];
    await writeFile(script, TRITON);
    await writeFile(picture, goodPicture());
    const { stdout } = await run(join(venv, 'bin', 'python'), [script, hub.url, hub.key, picture], {
      timeout: TIMEOUT_MS,
    });
    assert.match(stdout, /^all well$/m);
  });

  it('huggingface_hub and LangChain ask for every task, with every parameter', {
    skip: lacks('huggingface_hub', 'langchain_huggingface'),
  }, async (t) => {
    const models = Object.fromEntries(Object.keys(CANNED_ANSWERS).map((task) => [task, task as TaskName]));
    const api = await startHubApi({ models });
    api.answer = ({ model }) => CANNED_ANSWERS[model as TaskName];
    const canned = await serve(t, api);
    const running = await startGenerationHub();
    t.after(() => running.stop());
    const [heard] = (await references()).whisper;
    const { stdout } = await run(
      join(venv, 'bin', 'python'),
      [
        join(CLIENTS, 'hugging_face.py'),
        ...[canned.url, canned.key, running.url, running.key],
        ...[join(GENERATION, 'picture.png'), join(GENERATION, 'sounds', heard?.input ?? '')],
      ],
      {
        timeout: TIMEOUT_MS,
        env: { ...process.env, HF_HUB_DISABLE_TELEMETRY: '1', LANGSMITH_TRACING: 'false' },
      },
    );
    assert.match(stdout, /^all well$/m);
  });

  it('openapi-python-client makes clients of all that both documents describe, and they ask', {
    skip: lacks('openapi_python_client'),
  }, async (t) => {
    const hub = await serve(t, await startHubApi());
    const folder = await temporaryFolder(t);
    for (const [name, path] of Object.entries({ hub: 'openapi.json', agent: 'agent-openapi.json' })) {
      const from = join(DOCS, path);
      const { stdout, stderr } = await run(
        join(venv, 'bin', 'openapi-python-client'),
        ['generate', '--path', from, '--output-path', join(folder, name), '--meta', 'none'],
        { timeout: TIMEOUT_MS, cwd: folder },
      );
      // Bytes of these kinds it leaves out of an answer, and says so.
      const left = `${stdout}${stderr}`.match(/^WARNING.*$/gm) ?? [];
      assert.deepEqual(
        left.filter((line) => !/ca\.pem|thumbnail/.test(line)),
        [],
      );
      assert.doesNotMatch(`${stdout}${stderr}`, /Unable to process schema|duplicate/);
      const { paths } = JSON.parse(await readFile(from, 'utf8')) as { paths: Record<string, object> };
      const operations = Object.values(paths).reduce((sum, one) => sum + Object.keys(one).length, 0);
      const modules = await readdir(join(folder, name, 'api'), { recursive: true });
      const made = modules.filter((one) => one.endsWith('.py') && !one.endsWith('__init__.py'));
      assert.equal(made.length, operations, 'no operation is left out');
      await rename(join(folder, name), join(folder, `outrider_${name}_client`));
    }
    const { stdout } = await run(
      join(venv, 'bin', 'python'),
      [join(CLIENTS, 'generated.py'), hub.url, hub.key],
      { timeout: TIMEOUT_MS, env: { ...process.env, PYTHONPATH: folder } },
    );
    assert.match(stdout, /^all well$/m);
  });

  it('Schemathesis finds no failure of our making and no answer that the document does not have', async (t) => {
    const { url, key } = await serve(t, await startHubApi());
    const tried = await run(
      join(venv, 'bin', 'schemathesis'),
      [
        ...['run', `${url}/openapi.json`, '--header', `Authorization: Bearer ${key}`],
        ...['--checks', CHECKS, '--max-examples', '20', '--max-time', '90', '--seed', '1', '--no-color'],
        // It never ends, and is tested elsewhere.
        ...['--exclude-path', '/api/v1/events'],
        // What ends its own key would make the rest answer 401.
        ...['--exclude-method', 'DELETE', '--request-timeout', '10'],
      ],
      { cwd: await temporaryFolder(t), timeout: TIMEOUT_MS, maxBuffer: 2 ** 26 },
    ).catch((error: { stdout?: string }) => assert.fail(error.stdout?.slice(-6_000)));
    assert.match(tried.stdout, /[1-9]\d\d+ generated, \d+ passed/);
  });
});

const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
].join();

const TRITON = `
import sys
import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

url, key, path = sys.argv[1:]
client = triton.InferenceServerClient(url.removeprefix("http://"))
headers = {"Authorization": "Bearer " + key}
# Before it has been told a key.
assert client.is_server_live() and client.is_server_ready()
assert client.is_server_live(headers) and client.is_server_ready(headers)
assert client.is_model_ready("words", headers=headers)
assert client.get_server_metadata(headers)["name"] == "outrider"
metadata = client.get_model_metadata("words", headers=headers)
assert metadata["inputs"][0]["name"] == "text", metadata
assert [one["name"] for one in client.get_model_repository_index(headers)] == ["colours", "words"]

def ask(model, name, values, binary_in, binary_out, **more):
    tensor = triton.InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=binary_in)
    outputs = [triton.InferRequestedOutput(one, binary_data=binary_out) for one in ("label", "score")]
    # The client writes into the headers that it is given.
    result = client.infer(model, [tensor], outputs=outputs, headers=dict(headers), request_id="mine", **more)
    assert result.get_response()["id"] == "mine"
    labels = [one.decode() if isinstance(one, bytes) else one for one in result.as_numpy("label").flatten()]
    return labels, result.as_numpy("score")

for model, name, plain, raw in [
    ("words", "text", ["good good", "bad bad"], [b"good good", b"bad bad"]),
    ("colours", "image", None, [open(path, "rb").read()] * 2),
]:
    import base64
    plain = plain or [base64.b64encode(one).decode() for one in raw]
    expected, scores = ask(model, name, plain, False, False)
    assert len(expected) == 2 and scores.shape == (2,), (expected, scores)
    for values, binary_in, binary_out in [(plain, False, True), (raw, True, False), (raw, True, True)]:
        labels, other = ask(model, name, values, binary_in, binary_out)
        assert labels == expected and np.allclose(other, scores, atol=1e-3), (labels, expected)
    labels, many = ask(model, name, raw, True, True, parameters={"top_k": 2})
    assert many.shape == (2, 2), many.shape

for algorithm in ["gzip", "deflate"]:
    labels, _ = ask("words", "text", ["good good"], False, False, request_compression_algorithm=algorithm)
    assert labels == ["positive"], labels

config = client.get_model_config("words", headers=headers)
assert config["input"][0]["data_type"] == "TYPE_STRING" and config["platform"] == "onnxruntime_onnx", config
assert metadata["platform"] == "onnx_onnxv1", metadata
[stats] = client.get_inference_statistics("words", headers=headers)["model_stats"]
assert stats["inference_count"] == stats["inference_stats"]["success"]["count"] > 0, stats
assert stats["inference_stats"]["compute_infer"]["ns"] > 0, stats
assert len(client.get_inference_statistics(headers=headers)["model_stats"]) == 2

text = triton.InferInput("text", [1], "BYTES")
text.set_data_from_numpy(np.array([b"good good"], dtype=np.object_))
for binary in [True, False]:
    classes = client.infer(
        "words", [text], headers=dict(headers), parameters={"mine": "x"}, priority=1, timeout=5000000,
        outputs=[triton.InferRequestedOutput("score", binary_data=binary, class_count=2)],
    ).as_numpy("score")
    assert classes.shape == (1, 2), classes
    value, index, label = [one.decode() if isinstance(one, bytes) else one for one in classes[0]][0].split(":")
    assert label == "positive" and float(value) > 0.5 and index == "1", classes

for absent in [
    lambda: client.register_system_shared_memory("mine", "/mine", 64, headers=headers),
    lambda: client.get_cuda_shared_memory_status(headers=headers),
    lambda: client.get_trace_settings("words", headers=headers),
    lambda: client.get_log_settings(headers=headers),
    lambda: client.load_model("words", headers=headers),
    lambda: client.unload_model("words", headers=headers),
]:
    try:
        absent()
        raise SystemExit("it should not be there")
    except InferenceServerException as error:
        assert error.status() == "501" and "does not offer" in error.message(), error

for model, version in [("nobody", ""), ("words", "99")]:
    try:
        client.get_model_metadata(model, version, headers=headers)
        raise SystemExit("it should not be there")
    except InferenceServerException as error:
        assert error.status() == "404", error.status()
print("all well")
`;
