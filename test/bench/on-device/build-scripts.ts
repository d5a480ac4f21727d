/** The scripts that the agent is compared with, built, so that no loader is in their figures. */
import { build } from 'esbuild';
import { inTree } from '../harness.ts';

/** Makes `NAME.mjs` of each in a folder of the checkout. */
export async function buildScripts(names: readonly string[], folder: string): Promise<void> {
  await build({
    entryPoints: names.map((name) => inTree(`test/bench/on-device/${name}.ts`)),
    ...{ bundle: true, platform: 'node', format: 'esm', target: 'node20', packages: 'external' },
    ...{ outdir: folder, outExtension: { '.js': '.mjs' } },
  });
}
