/** Script (b) of the camera bench: ffmpeg gives JPEGs, transformers.js answers one after the other. URL FPS FILE FOLDER */
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { env, PretrainedConfig, pipeline, RawImage } from '@huggingface/transformers';
import { JpegReader } from '../../../agent/camera/frames.ts';
import { answerEach, readCamera } from './plain-frames.ts';

const [url = '', fps = '', file = '', path = ''] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = dirname(path);
const json = JSON.parse(await readFile(join(path, 'config.json'), 'utf8'));
const made = await pipeline('image-classification', basename(path), {
  ...{ dtype: 'q8', device: 'cpu' },
  // It runs only architectures that it has a class for; a graph that takes and gives the same can pass for one of them.
  config: new PretrainedConfig({ ...json, model_type: 'vit' }),
});
const take = answerEach(file, async (frame) => {
  const picture = await RawImage.fromBlob(new Blob([new Uint8Array(frame)]));
  const answer = (await made(picture)) as unknown as { label: string }[];
  return answer[0]?.label ?? '';
});
const reader = new JpegReader(({ body }) => take(body));
const stream = readCamera(url, ['-vf', `fps=${fps}`, '-c:v', 'mjpeg', '-q:v', '3', '-f', 'image2pipe']);
stream.on('data', (chunk: Buffer) => reader.push(chunk));
