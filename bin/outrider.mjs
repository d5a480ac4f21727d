#!/usr/bin/env -S node --max-semi-space-size=2
// The `outrider` command. In a checkout the programs are built where they are not of today's sources; a release has no sources.
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

// Must be set before ONNX Runtime is loaded, in every process that we start.
process.env.ORT_DISABLE_TELEMETRY = '1';
// What V8 has made of the programs, beside them, where nobody else can write; not on Node 20, and not where we cannot write either.
module.enableCompileCache?.(fileURLToPath(new URL('../dist/cache', import.meta.url)));
const tool = new URL('../tools/ensure-built.cjs', import.meta.url);
if (existsSync(tool)) (await import(tool.href)).default.ensureBuilt();
await import(new URL('../dist/outrider.js', import.meta.url).href);
