/** Debian's Chromium as a person's browser, which tells of everything that a page should not do. */
import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';

const IMAGES = new URL('../../docs/images/', import.meta.url);

export async function startBrowser(t: TestContext): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
  t.after(() => browser.close());
  return browser;
}

export interface Watched {
  readonly page: Page;
  /** Nothing was complained of, nothing was refused by the page's policy, and nobody else was asked. */
  assertQuiet(): void;
}

/** @param allowed complaints that a test provokes */
export async function openPage(
  browser: Browser,
  url: string,
  options: { width?: number; dark?: boolean; allowed?: RegExp } = {},
): Promise<Watched> {
  const context = await browser.newContext({
    viewport: { width: options.width ?? 1280, height: 900 },
    colorScheme: options.dark ? 'dark' : 'light',
  });
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('console', (message) => {
    // A violation of the policy comes as an error, too.
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => {
    complaints.push(`a script ran: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const { host } = new URL(url);
  page.on('request', (request) => {
    if (new URL(request.url()).host !== host) complaints.push(`asked ${request.url()}`);
  });
  await page.goto(url);
  return {
    page,
    assertQuiet: () =>
      assert.deepEqual(
        complaints.filter((text) => !options.allowed?.test(text)),
        [],
      ),
  };
}

/** Whether the documents' pictures are to be taken anew. */
export const PICTURES_WANTED = process.env.OUTRIDER_SCREENSHOTS === '1';

/** A picture for the documents. @param name below docs/images */
export async function screenshot(page: Page, name: string): Promise<void> {
  await mkdir(IMAGES, { recursive: true });
  await page.screenshot({ path: fileURLToPath(new URL(name, IMAGES)) });
}
