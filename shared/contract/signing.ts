/** The keys that sign updates, as the hub's HTTP API speaks of them: how they stand, and changes of them that are signed elsewhere. */
import { z } from 'zod';
import { modelName, modelVersion } from './names.ts';

/** Name of a role: one of the four of The Update Framework, or that of a delegation. */
export const signingRole = z.string().regex(/^[a-z][a-z0-9-]{0,62}$/, 'small letters, digits and -');

/** Public half of a key that signs. */
const signingKey = z.object({
  /** SHA-256 of the key's canonical JSON (TUF 4.2.1). */
  id: z.string(),
  /** `ed25519`, or `ecdsa` on P-256. */
  kind: z.string(),
  /** Whether this hub holds the private half. */
  isHere: z.boolean(),
});

/** How near the end of a signature is: `soon` in 30 days, `urgent` in 7; of what the hub signs again by itself, where it has not. */
export const signingLevel = z.enum(['ok', 'soon', 'urgent', 'expired']);
export type SigningLevel = z.infer<typeof signingLevel>;

/** One role, and what signs for it. */
const signingRoleStatus = z.object({
  role: signingRole,
  /** Of its metadata; null: it has signed nothing yet. */
  version: z.int().nullable(),
  keys: z.array(signingKey),
  /** Keys that have to sign. */
  threshold: z.int(),
  /** null: it has signed nothing yet. */
  expiresAtMs: z.number().nullable(),
  /** Whether this hub signs it again in time by itself. */
  renewsItself: z.boolean(),
  level: signingLevel,
  /** What to do; null: nothing. */
  todo: z.string().nullable(),
  /** Of a delegation: patterns of the names that it may list. */
  models: z.array(z.string()).optional(),
});
export type SigningRoleStatus = z.infer<typeof signingRoleStatus>;

const ref = z.object({ model: modelName, version: modelVersion });

/** `GET /tuf/status`: all roles, and what waits for somebody's signature. */
export const signingStatus = z.object({
  /** While the hub holds a key of root or targets: it signs whatever it is asked to. */
  isDevelopment: z.boolean(),
  /** The four, then delegations in the order in which devices ask them. */
  roles: z.array(signingRoleStatus),
  /** Versions that wait to be listed. */
  toList: z.array(ref),
  /** Versions that were removed, and wait to be taken out of what is listed. */
  toDelist: z.array(ref),
});
export type SigningStatus = z.infer<typeof signingStatus>;

/** `POST /tuf/keys/{role}`: the key that waits for a root to name it. */
export const nextSigningKey = z.object({
  role: signingRole,
  id: z.string(),
  /** PEM of the public half. */
  publicKey: z.string(),
});

/** Metadata of The Update Framework, with as many signatures as it has so far. */
export const metadataJson = z.object({
  signatures: z.array(z.object({ keyid: z.string().max(128), sig: z.string().max(16_384) })).max(64),
  signed: z.record(z.string(), z.unknown()),
});

/**
 * A change of who signs, or of what is signed: a file that goes from holder to holder until enough have signed, and then to the hub, `POST
 * /tuf/changes`. It has what comes before along, so that whoever signs sees what changes.
 */
export const signingChange = z.strictObject({
  schema: z.literal(1),
  /** In words, for whoever signs; counts for nothing. */
  what: z.string().max(1_000),
  before: z.strictObject({
    root: metadataJson,
    targets: metadataJson.optional(),
    /** ETag of those targets at the hub. */
    targetsEtag: z.string().max(80).optional(),
    /** The same of delegated roles that have signed before. */
    delegatedEtags: z.record(signingRole, z.string().max(80)).optional(),
  }),
  root: metadataJson.optional(),
  targets: metadataJson.optional(),
  /** By delegated role. */
  delegated: z.record(signingRole, metadataJson).optional(),
});
export type SigningChange = z.infer<typeof signingChange>;
