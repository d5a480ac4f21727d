/** Script (a) of the camera bench: ffmpeg gives raw frames, sharp brings them to size, `session.run` answers. URL FPS FILE FOLDER */
import { openModelFolder } from '../../../shared/release/folder/model-folder.ts';
import { loadBare } from '../bare-model.ts';
import { FILM } from './clip.ts';
import { answerEach, readCamera } from './plain-frames.ts';

const [url = '', fps = '', file = '', path = ''] = process.argv.slice(2);
const size = { width: FILM.widthPx, height: FILM.heightPx };
const { spec } = await openModelFolder(path);
const classify = await loadBare(path, spec.model, 1);
const take = answerEach(file, async (frame) => (await classify(frame, size))[0]?.label ?? '');

let frame = Buffer.alloc(size.width * size.height * 3);
let filled = 0;
const stream = readCamera(url, ['-vf', `fps=${fps}`, '-pix_fmt', 'rgb24', '-f', 'rawvideo']);
stream.on('data', (chunk: Buffer) => {
  for (let at = 0; at < chunk.length; ) {
    const count = chunk.copy(frame, filled, at);
    at += count;
    filled += count;
    if (filled < frame.length) continue;
    take(frame);
    frame = Buffer.alloc(frame.length);
    filled = 0;
  }
});
