/** `/install.sh` as one hub serves it: deploy/install.sh, with what it needs to know of the hub before it. */
import { readFileSync } from 'node:fs';
import type { ReleaseRecord } from '../../../shared/contract/releases.ts';
import { AppError, unreadable } from '../../../shared/runtime/errors.ts';
import { ROOT } from '../../../shared/runtime/installation.ts';

/** Scheme, host and port: nothing in it means anything to a shell. */
const ADDRESS = /^https?:\/\/(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/;
const PEM = /^[A-Za-z0-9+/=\s-]+$/;
let body: string | undefined;

/**
 * The script for devices of this hub.
 *
 * @param caPem certificate of the hub's own authority, where it has one: whoever has the script over a connection that it trusts has it too
 * @throws BAD_REQUEST (the caller names the hub as nothing is named), FILE_UNREADABLE
 */
export function installScript(
  hubUrl: string,
  { caPem, releases }: { readonly caPem: string | undefined; readonly releases: readonly ReleaseRecord[] },
): string {
  if (!ADDRESS.test(hubUrl)) throw new AppError('BAD_REQUEST', 'the Host header is no name of a host');
  if (caPem !== undefined && !PEM.test(caPem)) throw new AppError('INVARIANT_BROKEN', 'this is no PEM');
  // The schema of a record allows no white space and no quotes.
  const rows = releases.map(
    ({ platform, version, file, sha256, bytes, unpackedBytes, manifestSha256, node }) =>
      [platform, version, file, sha256, bytes, unpackedBytes, manifestSha256, node ?? '-'].join(' '),
  );
  const before = [`hub='${hubUrl}'`, `ca_pem='${caPem?.trim() ?? ''}'`, `releases='${rows.join('\n')}'`];
  return ['#!/bin/sh', ...before, scriptBody()].join('\n');
}

function scriptBody(): string {
  const path = new URL('deploy/install.sh', ROOT);
  try {
    body ??= readFileSync(path, 'utf8');
    return body;
  } catch (cause) {
    throw unreadable(path.pathname, cause);
  }
}
