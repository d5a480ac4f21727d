/** Where a pipeline's Results go: `sinks` of `outrider.yaml`. */
import { z } from 'zod';
import { duration, mqttUrl, size } from './quantities.ts';

/** Which Results a sink is given; all, when left out. A provisional Result and the final one after it are one event. */
const when = z.strictObject({
  /** Those with one of these labels: the best one of a classifier, that of any box of a detector. @example [person] */
  labels: z.array(z.string().min(1).max(256)).min(1).max(1_000).optional(),
  /** Those whose label has at least this score, 0 to 1. @example 0.6 */
  minScore: z.number().min(0).max(1).optional(),
  /** Those that say something else than the one before that passed. @example true */
  onChange: z.boolean().default(false),
  /** None for so long after one that passed. @example 30s */
  cooldown: duration.default(0),
  /** Those whose label has been in every Result for so long. @example 2s */
  for: duration.default(0),
  /** Inputs that failed pass too. @example true */
  failures: z.boolean().default(false),
});

/** How much is kept; over it, the oldest goes. */
const keep = z.strictObject({
  /** Nothing older; 7 days of snapshots, one day of what a webhook has not taken, when left out. @example 7d */
  age: duration.optional(),
  /** No more in all; 500 MB of snapshots, 20 MB of what a webhook has not taken, when left out. @example 500MB */
  bytes: size.optional(),
});

const MIN_SECRET_BYTES = 24;
const MAX_SECRET_BYTES = 64;

/** Standard Webhooks, "Signature scheme": 24 to 64 random bytes. */
function isWebhookSecret(text: string): boolean {
  const base64 = /^whsec_([A-Za-z0-9+/]+={0,2})$/.exec(text)?.[1];
  const bytes = Buffer.from(base64 ?? '', 'base64').length;
  return bytes >= MIN_SECRET_BYTES && bytes <= MAX_SECRET_BYTES;
}

/** Receiver of a pipeline’s Results. */
export const sink = z.discriminatedUnion('type', [
  z.strictObject({
    /** Lines of NDJSON in a file, messages on an MQTT topic, requests to a webhook, or pictures in a folder. @example file */
    type: z.literal('file'),
    /** File, or folder of snapshots; inside the agent's data folder unless absolute. @example results/gate.ndjson */
    path: z.string().min(1),
    /** Of the file; at it the file before is replaced and a new one begun. 32 MiB when left out. @example 32MiB */
    maxBytes: size.optional(),
    /** Which Results it is given; all, when left out. @example { labels: [person], minScore: 0.6 } */
    when: when.optional(),
  }),
  z.strictObject({
    type: z.literal('mqtt'),
    /** Where the broker is; where a webhook is: https, or http with `allowPrivate`. @example mqtt://10.0.0.2:1883 */
    url: mqttUrl,
    /** Without wildcards. @example home/gate */
    topic: z
      .string()
      .min(1)
      .max(512)
      .regex(/^[^#+]*$/, 'a topic without wildcards'),
    /** At that broker. @example outrider */
    username: z.string().optional(),
    /** At that broker. @example "…" */
    password: z.string().optional(),
    /** PEM file of who vouches for the broker or the webhook, beside the configuration unless absolute; the system's, when left out. @example broker-ca.pem */
    ca: z.string().min(1).optional(),
    /** 1: the broker's word that it has each Result is waited for. 0: sent once. @example 0 */
    qos: z.union([z.literal(0), z.literal(1)]).default(1),
    /** The broker keeps the last Result for who subscribes later. @example true */
    retain: z.boolean().default(false),
    /** Entities of this pipeline and of the device appear in Home Assistant by themselves, and go with the pipeline. @example homeassistant */
    discovery: z.literal('homeassistant').optional(),
    /** Where Home Assistant looks for them, if its own prefix was changed. @example homeassistant */
    discoveryPrefix: z
      .string()
      .min(1)
      .max(128)
      .regex(/^[^#+]*$/, 'a topic without wildcards')
      .default('homeassistant'),
    /** With `discovery`: the last picture is an entity too. @example false */
    pictures: z.boolean().default(true),
    when: when.optional(),
  }),
  z.strictObject({
    type: z.literal('webhook'),
    url: z.url({ protocol: /^https?$/ }),
    /** By which requests are signed (Standard Webhooks): `whsec_` and 24 to 64 bytes in base64. @example whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY= */
    secret: z
      .string()
      .refine(isWebhookSecret, 'whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` makes them')
      .optional(),
    /** It may be at a private, loopback or link-local address. @example true */
    allowPrivate: z.boolean().default(false),
    ca: z.string().min(1).optional(),
    /** The picture goes along, as a JPEG in base64. @example true */
    picture: z.boolean().default(false),
    /** How much is kept, of snapshots or of what a webhook has not taken. @example { age: 7d, bytes: 500MB } */
    keep: keep.prefault({}),
    when: when.optional(),
  }),
  z.strictObject({
    type: z.literal('snapshots'),
    path: z.string().min(1),
    keep: keep.prefault({}),
    /** Boxes and labels are drawn into the picture. @example false */
    annotate: z.boolean().default(true),
    /** Of the longer side, in pixels; larger pictures are made smaller. @example 1920 */
    maxSide: z.int().min(64).max(4_096).default(1_280),
    when: when.optional(),
  }),
]);
/** Settings of one sink. */
export type SinkConfig = z.infer<typeof sink>;
