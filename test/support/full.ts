/** `npm run test:full`: says what the full tests need, runs them, and installs nothing. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const NEEDS = {
  mosquitto: 'the Debian package mosquitto (an MQTT 5 broker)',
  mosquitto_ctrl: 'the same package, which has the dynamic-security plugin, too',
  chromium: 'the Debian package chromium (a browser for the pages)',
  ffmpeg: 'the Debian package ffmpeg (what reads cameras)',
  'softhsm2-util': 'the Debian package softhsm2 (a token of software)',
  'pkcs11-tool': 'the Debian package opensc (what asks a token to sign)',
  mount: 'root, for a small tmpfs that gets full',
};

const VENV = process.env.OUTRIDER_CLIENTS_VENV ?? '.venv';
const CLIENTS = `${VENV}/bin/python: Python's clients in a virtual environment (python3 -m venv .venv && .venv/bin/pip install -r test/support/clients.txt)`;
const hasClients =
  spawnSync(`${VENV}/bin/python`, [
    '-c',
    'import tritonclient.http, schemathesis, langchain_huggingface, openapi_python_client',
  ]).status === 0;
const GSTREAMER =
  'an RTSP server for a camera: the Debian packages gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,bad,ugly} and gstreamer1.0-rtsp';
const hasGstreamer =
  spawnSync('/usr/bin/python3', [
    '-c',
    'import gi; gi.require_version("GstRtspServer", "1.0"); from gi.repository import GstRtspServer, Gst; Gst.init(None); assert Gst.ElementFactory.find("x264enc") and Gst.ElementFactory.find("videotestsrc")',
  ]).status === 0;
const NODES = ['node24', 'node26'];
const NODES_LINE = `${NODES.join(' and ')} in .nodes: npm install --prefix .nodes --no-save ${NODES.map((name) => `${name}@npm:node-${process.platform}-${process.arch}@${name.slice(4)}`).join(' ')}`;
const hasNodes = NODES.every((name) => existsSync(`.nodes/node_modules/${name}/bin/node`));
const missing = Object.entries(NEEDS).filter(
  ([command]) =>
    spawnSync('sh', ['-c', `command -v ${command} || test -x /usr/sbin/${command}`]).status !== 0,
);
if (missing.length > 0 || !hasClients || !hasGstreamer || !hasNodes || process.getuid?.() !== 0) {
  console.error('The full tests need:');
  for (const [command, what] of Object.entries(NEEDS)) console.error(`  ${command}: ${what}`);
  console.error(`  ${CLIENTS}`);
  console.error(`  ${GSTREAMER}`);
  console.error(`  ${NODES_LINE}`);
  console.error('Nothing was installed, and nothing was run.');
  process.exit(1);
}
const run = spawnSync(process.execPath, ['tools/run-tests.mjs', '--full', ...process.argv.slice(2)], {
  stdio: 'inherit',
});
process.exit(run.status ?? 1);
