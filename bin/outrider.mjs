#!/usr/bin/env node
// The `outrider` command: runs the TypeScript command line under tsx, whatever the working directory is.
import { register } from 'tsx/esm/api';

// Must be set before ONNX Runtime is loaded, in every process that we start.
process.env.ORT_DISABLE_TELEMETRY = '1';
register();
await import(new URL('../shared/cli/main.ts', import.meta.url));
