/**
 * The health check of the container: whether the program in it is ready, by its `/readyz`. Which program that is, and at which port,
 * the command says that the container was started with.
 */
import { readFileSync } from 'node:fs';
import { get } from 'node:http';
import { get as getSecurely } from 'node:https';

const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0');
const [name, standard] = words.includes('agent') ? ['agent', '8090'] : ['hub', '8080'];
/** @param {string} flag */
const valueOf = (flag) =>
  words.flatMap((word, index) =>
    word === flag ? [words[index + 1]] : word.startsWith(`${flag}=`) ? [word.slice(flag.length + 1)] : [],
  )[0];
const port = valueOf(`--${name}-port`) ?? standard;

/** @param {typeof get} ask @param {string} scheme */
const isReady = (ask, scheme) =>
  new Promise((resolve) => {
    const options = { rejectUnauthorized: false, timeout: 3_000 };
    const request = ask(`${scheme}://127.0.0.1:${port}/readyz`, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });

process.exit((await isReady(get, 'http')) || (await isReady(getSecurely, 'https')) ? 0 : 1);
