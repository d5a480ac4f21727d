/**
 * The hub's page: to strangers how to sign in, to who has signed in a page without data that asks the admin API for it. Its files
 * lie in `cloud/dashboard` and `shared/page`.
 */
import { type Context, Hono } from 'hono';
import { readAssets, readPageFile } from '../../../shared/page/assets.ts';
import { VERSION } from '../../../shared/runtime/version.ts';
import type { HubEnv } from '../frame/face.ts';

/** HTML, ready to be sent. */
export interface Pages {
  /** For who has signed in. */
  readonly fleet: string;
  readonly signIn: string;
  /** The same, to who has come by an address that is not good any more. */
  readonly refused: string;
}

const REFUSAL = `<p class="banner" role="alert"><strong>This address signs nobody in.</strong> It is unknown, has been used, or is
older than ten minutes. Make another.</p>`;

/** @param hasDevelopmentKeys said in red on the page @throws FILE_UNREADABLE */
export function readPages(hasDevelopmentKeys: boolean): Pages {
  const signIn = readPageFile('cloud/dashboard/sign-in.html').replaceAll('{{version}}', VERSION);
  return {
    fleet: readPageFile('cloud/dashboard/page.html')
      .replaceAll('{{version}}', VERSION)
      .replace('{{developmentKeys}}', String(hasDevelopmentKeys)),
    signIn: signIn.replace('{{refusal}}', ''),
    refused: signIn.replace('{{refusal}}', REFUSAL),
  };
}

/** The files of the page, `/assets/…`: they hold no data and answer everybody. @throws FILE_UNREADABLE */
export function createAssetApi(): Hono<HubEnv> {
  const assets = readAssets(['cloud/dashboard/page.js']);
  const app = new Hono<HubEnv>();
  app.get('/assets/*', (c) => {
    const asset = assets.get(c.req.path);
    return asset ? c.body(asset.body, 200, { 'content-type': asset.contentType }) : c.notFound();
  });
  return app;
}

/** Whether a person looks, and not a program. RFC 9110 12.5.1 */
export const isBrowser = (c: Context): boolean => c.req.header('accept')?.includes('text/html') === true;
