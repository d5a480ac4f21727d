/** How a test or a bench starts a script of its own, which is TypeScript and is not built. */

/** Node's flags for it; a bare `tsx` is not found when the working directory is elsewhere. */
export const tsxFlags = (): string[] => ['--import', import.meta.resolve('tsx')];
