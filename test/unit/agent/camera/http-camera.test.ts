import assert from 'node:assert/strict';
import { createHash, X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import type { PeerCertificate } from 'node:tls';
import { readHttpCamera } from '../../../../agent/camera/http-camera.ts';
import { readAddress } from '../../../../shared/camera/address.ts';
import { cameraTls } from '../../../../shared/camera/camera-tls.ts';
import { Authority } from '../../../../shared/runtime/authority.ts';
import { systemClock } from '../../../../shared/runtime/clock.ts';
import { AppError } from '../../../../shared/runtime/errors.ts';
import { silentLogger } from '../../../../shared/runtime/logger.ts';
import { temporaryFolder } from '../../../support/fixed.ts';

const FOLDER = 'models/demo/pictures';
const JPEGS = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.jpg'))
  .slice(0, 3)
  .map((name) => readFileSync(`${FOLDER}/${name}`));

async function camera(
  t: TestContext,
  onRequest: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(onRequest);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  return `127.0.0.1:${port}`;
}

/** Reads until so many pictures have come, or it ends by itself. */
async function read(
  url: string,
  wanted: number,
  { fps = 50, ca, insecure = false }: { fps?: number; ca?: string; insecure?: boolean } = {},
) {
  const stop = new AbortController();
  const pictures: Buffer[] = [];
  const refused: AppError[] = [];
  const end = await readHttpCamera(
    {
      ...{ address: readAddress(url, '/'), fps, clock: systemClock },
      trust: { ca, insecure },
      give: (jpeg) => {
        pictures.push(jpeg);
        if (pictures.length >= wanted) stop.abort();
      },
      onRefused: (error) => {
        refused.push(error);
        stop.abort();
      },
    },
    stop.signal,
  ).catch((error: unknown) => error as AppError);
  return { pictures, refused, end };
}

/** As Node shows it to whoever checks its name. */
const peer = (pem: string): PeerCertificate => new X509Certificate(pem).toLegacyObject() as PeerCertificate;
const codeOf = (end: unknown): string => (end instanceof AppError ? end.code : String(end));

test('single pictures are asked for again and again over one connection', async (t) => {
  const sockets = new Set<Socket>();
  let asked = 0;
  const host = await camera(t, ({ socket }, response) => {
    sockets.add(socket);
    response.setHeader('content-type', 'image/jpeg').end(JPEGS[asked++ % 3]);
  });
  const { pictures } = await read(`http://${host}/snapshot.jpg`, 4);
  assert.deepEqual(pictures.slice(0, 3), JPEGS);
  assert.equal(sockets.size, 1);
});

test('an MJPEG stream gives its pictures whole', async (t) => {
  const host = await camera(t, (_request, response) => {
    response.setHeader('content-type', 'multipart/x-mixed-replace; boundary=x');
    let at = 0;
    const timer = setInterval(() => {
      response.write('--x\r\nContent-Type: image/jpeg\r\n\r\n');
      response.write(JPEGS[at++ % 3]);
    }, 30);
    response.on('close', () => clearInterval(timer));
  });
  const { pictures } = await read(`http://${host}/mjpeg`, 3);
  assert.ok(pictures.every((one) => JPEGS.some((jpeg) => jpeg.equals(one))));
});

const md5 = (text: string): string => createHash('md5').update(text).digest('hex');

test('Digest and Basic are answered, a wrong password is told as such, and is in no message', async (t) => {
  const host = await camera(t, ({ headers, url }, response) => {
    const given = headers.authorization ?? '';
    const isDigest = url?.startsWith('/digest') === true;
    const field = (name: string): string => new RegExp(`${name}="?([^",]+)`).exec(given)?.[1] ?? '';
    const own = md5('admin:cam:p@ss:word');
    const wanted = isDigest
      ? md5(`${own}:n1:${field('nc')}:${field('cnonce')}:auth:${md5(`GET:${url}`)}`)
      : `Basic ${Buffer.from('admin:p@ss:word').toString('base64')}`;
    if ((isDigest ? field('response') : given) === wanted)
      return response.setHeader('content-type', 'image/jpeg').end(JPEGS[0]);
    response.setHeader(
      'www-authenticate',
      isDigest ? 'Digest realm="cam", nonce="n1", qop="auth"' : 'Basic realm="cam"',
    );
    return response.writeHead(401).end('<html>');
  });
  for (const path of ['digest?channel=1', 'basic'])
    assert.equal((await read(`http://admin:p%40ss%3Aword@${host}/${path}`, 1)).pictures.length, 1, path);
  for (const path of ['digest', 'basic']) {
    for (const user of ['admin:wrong@', '']) {
      const { end } = await read(`http://${user}${host}/${path}`, 1);
      assert.equal(codeOf(end), 'CAMERA_REFUSED');
      assert.doesNotMatch(String((end as unknown as AppError).message), /wrong|admin/);
    }
  }
});

test('an https camera is believed by its authority, by its own certificate under any name, or whoever it is', async (t) => {
  const open = async (): Promise<Authority> => {
    const folder = await temporaryFolder(t);
    return Authority.open({ folder, names: [], clock: systemClock, logger: silentLogger });
  };
  const [own, stranger] = [await open(), await open()];
  const [cert, key] = [readFileSync(own.certFile, 'utf8'), readFileSync(own.keyFile, 'utf8')];
  const server = createTlsServer({ cert, key }, (_request, response) => {
    response.setHeader('content-type', 'image/jpeg').end(JPEGS[0]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const url = `https://127.0.0.1:${port}/snap.jpg`;
  assert.equal((await read(url, 1, { ca: own.pem })).pictures.length, 1);
  assert.equal((await read(url, 1, { ca: cert })).pictures.length, 1);
  assert.equal((await read(url, 1, { insecure: true })).pictures.length, 1);
  for (const ca of [undefined, stranger.pem]) {
    const { end } = await read(url, 1, { ...(ca !== undefined && { ca }) });
    assert.equal(codeOf(end), 'CAMERA_UNTRUSTED');
  }
  assert.equal(codeOf((await read(`https://127.0.0.1:1/`, 1)).end), 'CAMERA_UNREACHABLE');
  assert.equal(cameraTls({ ca: cert, insecure: false }).checkServerIdentity?.('cam', peer(cert)), undefined);
  assert.ok(cameraTls({ ca: own.pem, insecure: false }).checkServerIdentity?.('cam', peer(cert)));
});

test('what is no picture has its code: HTML, nothing, another host, an error, no HTTP at all', async (t) => {
  const host = await camera(t, ({ url }, response) => {
    if (url === '/html') response.setHeader('content-type', 'text/html').end('<html>sign in</html>');
    else if (url === '/lie') response.setHeader('content-type', 'image/jpeg').end('<html>sign in</html>');
    else if (url === '/away') response.writeHead(302, { location: 'http://169.254.169.254/latest' }).end();
    else if (url === '/circle') response.writeHead(302, { location: '/circle' }).end();
    else if (url === '/here') response.writeHead(302, { location: '/picture' }).end();
    else if (url === '/picture') response.setHeader('content-type', 'image/jpeg').end(JPEGS[0]);
    else if (url === '/video') response.setHeader('content-type', 'video/mp2t').write('G');
    else response.writeHead(url === '/busy' ? 503 : 404).end();
  });
  for (const [path, code] of [
    ['html', 'CAMERA_NO_STREAM'],
    ['lie', 'CAMERA_NO_STREAM'],
    ['away', 'CAMERA_NO_STREAM'],
    ['circle', 'CAMERA_NO_STREAM'],
    ['none', 'CAMERA_NO_STREAM'],
    ['busy', 'CAMERA_UNREACHABLE'],
    ['video', 'video'],
  ] as const)
    assert.equal(codeOf((await read(`http://${host}/${path}`, 1)).end), code, path);
  assert.equal((await read(`http://${host}/here`, 1)).pictures.length, 1);
});

test('headers without an end and a stream that never becomes a picture are read within bounds', async (t) => {
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const more = (): void => {
        while (!socket.destroyed && socket.write(`X-Header: ${'a'.repeat(500)}\r\n`));
      };
      socket.on('drain', more);
      more();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close());
  const { port } = server.address() as { port: number };
  assert.equal(codeOf((await read(`http://127.0.0.1:${port}/`, 1)).end), 'CAMERA_NO_STREAM');

  const host = await camera(t, (_request, response) => {
    response.setHeader('content-type', 'multipart/x-mixed-replace');
    const more = (): void => {
      while (!response.destroyed && response.write('not a picture '.repeat(1_000)));
    };
    response.on('drain', more);
    more();
  });
  assert.equal(codeOf((await read(`http://${host}/`, 1)).end), 'CAMERA_NO_STREAM');
});

test('a JPEG of a hundred megapixels is refused by its header, and nobody there is told as such', async (t) => {
  const huge = Buffer.from(JPEGS[0] as Buffer);
  const frameAt = huge.indexOf(Buffer.from([0xff, 0xc0]));
  huge.writeUInt16BE(10_000, frameAt + 5);
  huge.writeUInt16BE(10_000, frameAt + 7);
  const host = await camera(t, (_request, response) => {
    response.setHeader('content-type', 'image/jpeg').end(huge);
  });
  const { refused, pictures } = await read(`http://${host}/`, 1);
  assert.deepEqual([refused[0]?.code, pictures.length], ['IMAGE_TOO_LARGE', 0]);
  assert.equal(codeOf((await read('http://127.0.0.1:1/', 1)).end), 'CAMERA_UNREACHABLE');
  assert.equal(codeOf((await read('http://no-such-camera.invalid/', 1)).end), 'CAMERA_UNREACHABLE');
});
