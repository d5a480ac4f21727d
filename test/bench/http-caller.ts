/** An application on the device that asks the agent over HTTP, one request after the other on a connection that is kept. */
import { Agent, request } from 'node:http';
import { z } from 'zod';
import { answerParent } from './worker.ts';

const job = z.object({ url: z.url(), pictures: z.array(z.custom<Uint8Array>()) });
const best = z.object({ output: z.array(z.object({ label: z.string() })) });
const agent = new Agent({ keepAlive: true, maxSockets: 1 });

function post(url: string, body: Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'image/jpeg', 'content-length': body.length };
    const asking = request(url, { method: 'POST', agent, headers }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => (response.statusCode === 200 ? resolve(text) : reject(new Error(text))));
    });
    asking.on('error', reject);
    asking.end(body);
  });
}

answerParent(async (message) => {
  const { url, pictures } = job.parse(message);
  const timesMs: number[] = [];
  const labels: string[] = [];
  for (const picture of pictures) {
    const startedMonoMs = performance.now();
    const answer = best.parse(JSON.parse(await post(url, picture)));
    timesMs.push(performance.now() - startedMonoMs);
    labels.push(answer.output[0]?.label ?? '');
  }
  return { timesMs, labels };
});
