import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readAddress } from '../../../../shared/camera/address.ts';
import { streamOfOnvif } from '../../../../shared/camera/onvif.ts';
import { isAppError } from '../../../../shared/runtime/errors.ts';
import { onvifCamera } from '../../../support/onvif-camera.ts';

test('an ONVIF camera is read by the stream that it names, at the host that was asked, with the same credentials', async (t) => {
  const host = await onvifCamera(t, 'admin', 'p@ss');
  const address = readAddress(`onvif://admin:p%40ss@${host}`, '/');
  const sub = await streamOfOnvif(address, 'sub');
  assert.equal(sub.shown, 'rtsp://127.0.0.1/sub?…');
  assert.deepEqual(sub.credentials, { username: 'admin', password: 'p@ss' });
  assert.equal((await streamOfOnvif(address, 'main')).shown, 'rtsp://127.0.0.1/main?…');
});

test('its refusal and its absence have their codes', async (t) => {
  const host = await onvifCamera(t, 'admin', 'p@ss');
  await assert.rejects(streamOfOnvif(readAddress(`onvif://admin:wrong@${host}`, '/'), 'sub'), (error) =>
    isAppError(error, 'CAMERA_REFUSED'),
  );
  await assert.rejects(streamOfOnvif(readAddress('onvif://127.0.0.1:1', '/'), 'sub'), (error) =>
    isAppError(error, 'CAMERA_UNREACHABLE'),
  );
});
