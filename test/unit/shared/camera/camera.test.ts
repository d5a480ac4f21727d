import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addressProblem, readAddress, scrubbed } from '../../../../shared/camera/address.ts';
import { ffmpegInput } from '../../../../shared/camera/ffmpeg-input.ts';
import { failureOf } from '../../../../shared/camera/ffmpeg-words.ts';
import { authorization } from '../../../../shared/camera/http-auth.ts';

test('addresses, devices and files are told apart, and shown without what is secret in them', () => {
  const rtsp = readAddress('rtsp://admin:p%40ss@10.0.0.7:554/stream?token=abc', '/etc/outrider');
  assert.equal(rtsp.kind, 'network');
  assert.equal(rtsp.shown, 'rtsp://10.0.0.7:554/stream?…');
  assert.deepEqual(rtsp.credentials, { username: 'admin', password: 'p@ss' });
  assert.equal(readAddress('https://[fe80::1]/snap', '/').kind, 'http');
  assert.equal(readAddress('/dev/video0', '/').kind, 'device');
  assert.deepEqual(readAddress('./clips/a.mp4', '/etc/outrider').secretUrl, '/etc/outrider/clips/a.mp4');
  assert.equal(readAddress('file:///a.mp4', '/').secretUrl, '/a.mp4');
});

test('what is no address is refused with words that do not repeat it', () => {
  for (const text of [
    '',
    'ftp://u:secret@host/a',
    'rtsp://u:secret@',
    'rtsp://a\nfile /etc/passwd',
    'concat:a|b',
    'rtsp://u:sec#ret@host/',
  ]) {
    const problem = addressProblem(text);
    assert.ok(problem !== undefined, text);
    assert.doesNotMatch(problem, /secret/);
  }
  for (const text of ['rtsp://10.0.0.7/a', 'HTTP://cam/', 'video.mp4', '/dev/video0', 'onvif://cam:8000'])
    assert.equal(addressProblem(text), undefined, text);
});

test('an address never stands among ffmpeg’s arguments, and cannot add a line to its script', () => {
  const address = readAddress("rtsp://admin:it's-secret@10.0.0.7/a", '/');
  const { args, script } = ffmpegInput(address, { transport: 'tcp', repeat: false, paced: true });
  assert.doesNotMatch(args.join(' '), /secret|10\.0\.0\.7/);
  assert.match(
    script ?? '',
    /^ffconcat version 1\.0\nfile 'rtsp:\/\/admin:it'\\''s-secret@10\.0\.0\.7\/a'|it%27s-secret/,
  );
  assert.match(script ?? '', /option rtsp_transport tcp/);
  const file = ffmpegInput(readAddress('/a.mp4', '/'), { transport: 'tcp', repeat: true, paced: true });
  assert.deepEqual(
    [file.args.includes('-re'), file.args.includes('-stream_loop'), file.script],
    [true, true, undefined],
  );
});

test('what ffmpeg says is scrubbed of names and passwords, however they are written', () => {
  const address = readAddress('rtsp://admin:p%40ss@cam/a?key=topsecret', '/');
  const words = "Impossible to open 'rtsp://admin:p%40ss@cam/a?key=topsecret': p@ss p%40ss topsecret";
  assert.doesNotMatch(scrubbed(words, address), /p@ss|p%40ss|topsecret|admin/);
});

test('ffmpeg’s last words become codes', () => {
  const cases: [string, string][] = [
    [
      '[rtsp @ 0x1] method DESCRIBE failed: 401 Unauthorized\npipe:0: Server returned 401 Unauthorized (authorization failed)',
      'CAMERA_REFUSED',
    ],
    ['[rtsp @ 0x1] method DESCRIBE failed: 404 Not Found', 'CAMERA_NO_STREAM'],
    ['Connection to tcp://127.0.0.1:1?timeout=0 failed: Connection refused', 'CAMERA_UNREACHABLE'],
    [
      '[tcp @ 0x1] Failed to resolve hostname x: Name or service not known\npipe:0: Input/output error',
      'CAMERA_UNREACHABLE',
    ],
    ['pipe:0: Invalid data found when processing input', 'CAMERA_NO_STREAM'],
    ['Decoding requested, but no decoder found for: hevc', 'CAMERA_CODEC'],
    ['[mjpeg @ 0x1] Picture size 12000x9000 exceeds specified max pixel count 64000000', 'IMAGE_TOO_LARGE'],
    [
      '[AVHWDeviceContext @ 0x1] Cannot load libcuda.so.1\nDevice creation failed: -1.\n[h264 @ 0x1] No device available for decoder: device type cuda needed for codec h264.',
      'CAMERA_CODEC',
    ],
    [
      "[h264_v4l2m2m @ 0x1] Could not find a valid device\n[h264_v4l2m2m @ 0x1] can't configure decoder\nError while opening decoder for input stream #0:0 : Invalid argument",
      'CAMERA_CODEC',
    ],
    ['Unrecognized hwaccel: bogus.\nSupported hwaccels: vdpau cuda', 'CAMERA_CODEC'],
    // `auto` looks for all of them, and goes on without.
    ['[AVHWDeviceContext @ 0x1] Cannot load libcuda.so.1\nDevice creation failed: -1.', 'CAMERA_ENDED'],
    ['Device creation failed: -1.\npipe:0: Connection reset by peer', 'CAMERA_UNREACHABLE'],
    ['file:/films: Is a directory', 'CAMERA_NO_STREAM'],
    ['[tls @ 0x1] An unexpected TLS packet was received.\npipe:0: Input/output error', 'CAMERA_UNREACHABLE'],
    [
      '[video4linux2 @ 0x1] Cannot open video device /dev/video9: No such file or directory',
      'CAMERA_UNREACHABLE',
    ],
    ['file:/a.mp4: No such file or directory', 'CAMERA_NO_STREAM'],
    ['', 'CAMERA_ENDED'],
    ['[h264 @ 0x1] concealing 404 DC, 404 AC errors', 'CAMERA_ENDED'],
  ];
  for (const [words, code] of cases) assert.equal(failureOf('rtsp://cam/a', words).code, code, words);
  assert.match(
    failureOf('rtsp://cam/a', 'pipe:0: Connection timed out').message,
    /^the camera rtsp:\/\/cam\/a: it does not answer/,
  );
});

test('Digest is answered as RFC 7616 has it', () => {
  const request = {
    ...{ method: 'GET', uri: '/dir/index.html' },
    credentials: { username: 'Mufasa', password: 'Circle of Life' },
  };
  const challenge = (algorithm: string): string =>
    `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=${algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`;
  const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
  // RFC 7616 3.9.1
  assert.match(
    authorization(challenge('MD5'), request, cnonce) ?? '',
    /response="8ca523f5e9506fed4657c9700eebdbec"/,
  );
  assert.match(
    authorization(challenge('SHA-256'), request, cnonce) ?? '',
    /response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"/,
  );
  assert.equal(authorization('Bearer realm="x"', request), undefined);
});
