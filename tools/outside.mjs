// @ts-check
/**
 * Packages that no built file holds: native code, and what is loaded by few and is large. They are found in `node_modules` when they
 * are asked for, so that an installation needs them beside `dist/` (tools/installation.mjs).
 */
export const OUTSIDE = ['onnxruntime-node', 'sharp', '@huggingface/transformers'];

/** The same of packages that one option of one command asks for (`route simulate --svg`): an installation does without. */
export const OPTIONAL = ['vega', 'vega-lite'];
