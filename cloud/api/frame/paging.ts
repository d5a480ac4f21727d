/** Long lists come in pages: at most `limit` items after the cursor `after`, which is the name of the last one before. */
import { z } from 'zod';

/** The query of a list. */
export const pagingQuery = z.object({
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
  after: z.string().max(200).optional(),
});
export type PagingQuery = z.infer<typeof pagingQuery>;

/**
 * The items may change between two pages: what is there all the time is seen once.
 *
 * @param nameOf unique among the items
 */
export function sliceOf<T>(
  items: readonly T[],
  nameOf: (item: T) => string,
  { limit, after }: PagingQuery,
): { items: T[]; next: string | null } {
  const following = items
    .map((item) => ({ item, name: nameOf(item) }))
    .filter(({ name }) => after === undefined || name > after)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  const page = following.slice(0, limit);
  return {
    items: page.map(({ item }) => item),
    next: following.length > limit ? (page.at(-1)?.name ?? null) : null,
  };
}
