/**
 * Python's clients against the hub: Triton's, in JSON and in binary, and Schemathesis, which makes requests up from the document
 * and holds the answers to it. They lie in a virtual environment that `.ci/run` makes.
 */
import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { HubServer } from '../../cloud/api/frame/server.ts';
import { goodPicture } from '../support/bad-inputs.ts';
import { temporaryFolder } from '../support/fixed.ts';
import { startHubApi } from '../support/hub-api.ts';
import { startHubProgram } from '../support/hub-program.ts';

/** A virtual environment with what test/support/clients.txt lists. */
const venv = resolve(process.env.OUTRIDER_CLIENTS_VENV ?? '.venv');
const missing =
  spawnSync(join(venv, 'bin', 'python'), ['-c', 'import tritonclient.http, schemathesis']).status !== 0;
/** Of one client. */
const TIMEOUT_MS = 200_000;

const run = promisify(execFile);

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

  it('Schemathesis finds no failure of our making and no answer that the document does not have', async (t) => {
    const hub = await startHubApi();
    const server = new HubServer({ app: hub.app, host: '127.0.0.1', port: 0 });
    await server.start();
    t.after(async () => {
      await server.stop();
      await hub.stop();
    });
    const url = `http://127.0.0.1:${server.port}`;
    const tried = await run(
      join(venv, 'bin', 'schemathesis'),
      [
        ...['run', `${url}/openapi.json`, '--header', `Authorization: Bearer ${hub.adminKey}`],
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

for model, version in [("nobody", ""), ("words", "99")]:
    try:
        client.get_model_metadata(model, version, headers=headers)
        raise SystemExit("it should not be there")
    except InferenceServerException as error:
        assert error.status() == "404", error.status()
print("all well")
`;
