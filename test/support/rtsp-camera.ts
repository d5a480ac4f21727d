/** GStreamer’s RTSP server in a camera’s place. */
import { type ChildProcess, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';

const CAMERA = fileURLToPath(new URL('rtsp-camera.py', import.meta.url));

/** Switches a camera on; the test’s end switches it off. @param more its size, and flags of rtsp-camera.py */
export async function startRtspCamera(
  t: TestContext,
  port: number,
  ...more: readonly string[]
): Promise<ChildProcess> {
  const camera = spawn('/usr/bin/python3', [CAMERA, String(port), ...more], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => camera.kill('SIGKILL'));
  await new Promise<void>((resolve) => camera.stdout?.once('data', () => resolve()));
  return camera;
}
