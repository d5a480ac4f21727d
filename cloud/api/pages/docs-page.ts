/**
 * The API for people, written out from its document: plain HTML without script, so that nothing of it needs to be let through by
 * the Content-Security-Policy but its one style (docs/decisions/0012).
 */
import { createHash } from 'node:crypto';
import { html, raw } from 'hono/html';
import type { OpenApiDocument } from './openapi.ts';

const STYLE =
  'body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem}' +
  'details{border:1px solid #8884;border-radius:.3rem;margin:.4rem 0;padding:.3rem .7rem}' +
  'summary{cursor:pointer}pre{overflow:auto;max-height:24rem;background:#8881;padding:.6rem}' +
  'td,th{padding:.2rem 1rem .2rem 0;vertical-align:top;text-align:left}code,td{overflow-wrap:anywhere}b{display:inline-block;min-width:4.5rem}';

/** The one style that the page may have (CSP 3, 2.3.1). */
export const DOCS_STYLE_SOURCE = `'sha256-${createHash('sha256').update(STYLE).digest('base64')}'`;

type Html = ReturnType<typeof html>;
/** As this document's generator writes it: no references among parameters and responses. */
interface Operation {
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security: readonly Readonly<Record<string, readonly string[]>>[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly description?: string;
  }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>;
}
type Content = Readonly<Record<string, { readonly schema: Readonly<Record<string, unknown>> }>>;
interface Entry {
  readonly method: string;
  readonly path: string;
  readonly operation: Operation;
}

/** The HTML of the document. */
export function docsPage(document: OpenApiDocument): Html {
  const entries = Object.entries(document.paths ?? {}).flatMap(([path, item]) =>
    Object.entries(item as Record<string, Operation>).map(([method, operation]) => ({
      method,
      path,
      operation,
    })),
  );
  const tags = [...new Set(entries.flatMap(({ operation }) => operation.tags))];
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>${document.info.title}: API</title><style>${raw(STYLE)}</style></head><body>
<h1>${document.info.title} ${document.info.version}: API</h1>
<p>${textOf(document.info.description)}</p>
<p>For programs: <a href="/openapi.json">/openapi.json</a>. Try one: <code>curl -H "Authorization: Bearer $OUTRIDER_KEY" …</code></p>
${tags.map(
  (tag) => html`<h2>${tag}</h2>
${entries.filter(({ operation }) => operation.tags.includes(tag)).map(entryOf)}`,
)}
<h2>Schemas</h2>
${Object.entries(document.components?.schemas ?? {}).map(
  ([name, schema]) =>
    html`<details id="schema-${name}"><summary>${name}</summary><pre>${JSON.stringify(schema, null, 2)}</pre></details>`,
)}
</body></html>`;
}

const entryOf = ({ method, path, operation }: Entry): Html => html`<details>
<summary><b>${method.toUpperCase()}</b> <code>${path}</code> ${textOf(operation.summary)}</summary>
<p>${whoMay(operation)}</p>
${parametersOf(operation)}
${operation.requestBody ? html`<h4>Body</h4>${contentOf(operation.requestBody.content)}` : ''}
<h4>Answers</h4>
${Object.entries(operation.responses).map(
  ([status, { description, content }]) =>
    html`<p><code>${status}</code> ${textOf(description)}</p>${content ? contentOf(content) : ''}`,
)}
</details>`;

/** What the document writes between backticks is code. */
const textOf = (text = ''): (Html | string)[] =>
  text.split('`').map((part, index) => (index % 2 === 1 ? html`<code>${part}</code>` : part));

function whoMay({ security }: Operation): string {
  if (security.length === 0) return 'Needs no key.';
  const ways = security.flatMap((one) =>
    Object.entries(one).map(([scheme, scopes]) =>
      scheme === 'key'
        ? `a key with the scope ${scopes.join(' or ')}`
        : scheme === 'device'
          ? 'a device’s own credential'
          : 'a sign-in',
    ),
  );
  return `Needs ${ways.join(', or ')}.`;
}

function parametersOf({ parameters = [] }: Operation): Html | string {
  if (parameters.length === 0) return '';
  return html`<table><tr><th>parameter</th><th>in</th><th></th></tr>
${parameters.map((one) => html`<tr><td><code>${one.name}</code></td><td>${one.in}</td><td>${textOf(one.description)}</td></tr>`)}</table>`;
}

const contentOf = (content: Content): Html =>
  html`${Object.entries(content).map(([type, { schema }]) => {
    const reference = typeof schema.$ref === 'string' ? schema.$ref.split('/').at(-1) : undefined;
    if (reference !== undefined)
      return html`<p><code>${type}</code>: <a href="#schema-${reference}">${reference}</a></p>`;
    if (Object.keys(schema).length === 0) return html`<p><code>${type}</code></p>`;
    return html`<p><code>${type}</code></p><pre>${JSON.stringify(schema, null, 2)}</pre>`;
  })}`;
