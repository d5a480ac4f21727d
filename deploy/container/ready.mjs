/**
 * The health check of the container: whether the program in it is ready, by its `/readyz`. Which program that is, and at which port,
 * the command says that the container was started with.
 */
import { readFileSync } from 'node:fs';
import { get as getPlain } from 'node:http';
import { get as getSecurely } from 'node:https';

const words = readFileSync('/proc/1/cmdline', 'utf8').split('\0');
const flags = words.slice(words.findIndex((word) => word.endsWith('outrider.mjs')) + 1);
const flag = flags[0] === 'agent' ? '--agent-port' : '--hub-port';
const joined = flags.find((word) => word.startsWith(`${flag}=`))?.slice(flag.length + 1);
const apart = flags.includes(flag) ? flags[flags.indexOf(flag) + 1] : undefined;
const port = joined ?? apart ?? (flags[0] === 'agent' ? '8090' : '8080');

/** @param {typeof getPlain} get @param {string} scheme */
const isReady = (get, scheme) =>
  new Promise((resolve) => {
    // Whether it is ready is no secret, and whose certificate it shows is not asked here.
    const options = { rejectUnauthorized: false, timeout: 3_000 };
    const request = get(`${scheme}://127.0.0.1:${port}/readyz`, options, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    request.once('timeout', () => request.destroy());
    request.once('error', () => resolve(false));
  });

process.exit((await isReady(getPlain, 'http')) || (await isReady(getSecurely, 'https')) ? 0 : 1);
