/** What `outrider up` tells the agent that it has started beside its hub, once that hub is up. */
import { z } from 'zod';

/** Where the hub and its broker are, and a one-time token where the device is not enrolled there. */
export const hubOfParent = z.object({ hub: z.url(), mqtt: z.url(), token: z.string().optional() });
export type HubOfParent = z.infer<typeof hubOfParent>;
