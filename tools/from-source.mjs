/**
 * Lets Node run TypeScript files as they are: `node --import ./tools/from-source.mjs FILE`. What tsx has compiled it would keep in a
 * shared temporary folder, and read there whatever lies under the right name, whoever has put it there.
 */
process.env.TSX_DISABLE_CACHE = '1';
await import('tsx');
