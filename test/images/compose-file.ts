/**
 * compose.yaml as arguments of `podman run`, for machines that have no compose: what is in the file is what is tested. A key that is
 * not known here is an error, so that nothing in the file goes untested.
 */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';

const service = z.strictObject({
  image: z.string(),
  build: z.literal('.').optional(),
  pull_policy: z.literal('never'),
  command: z.array(z.string()),
  restart: z.enum(['unless-stopped', 'no']),
  stop_grace_period: z.string().regex(/^\d+s$/),
  read_only: z.boolean(),
  tmpfs: z.array(z.string()),
  cap_drop: z.array(z.string()),
  security_opt: z.array(z.string()),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()),
  healthcheck: z
    .strictObject({
      test: z.tuple([z.literal('CMD')], z.string()),
      interval: z.string(),
      timeout: z.string(),
      retries: z.int().optional(),
      start_period: z.string().optional(),
    })
    .optional(),
  depends_on: z
    .record(
      z.string(),
      z.strictObject({ condition: z.enum(['service_healthy', 'service_completed_successfully']) }),
    )
    .default({}),
});
export type Service = z.infer<typeof service>;

const composeFile = z.strictObject({
  name: z.string(),
  services: z.record(z.string(), service),
  volumes: z.record(z.string(), z.strictObject({})),
  'x-program': z.unknown(),
});

/** @param env for `${NAME:-default}` */
export function readCompose(
  path: string,
  env: Readonly<Record<string, string>>,
): ReadonlyMap<string, Service> {
  const text = readFileSync(path, 'utf8').replace(
    /\$\{(\w+):-([^}]*)\}/g,
    (_all, name: string, standard: string) => env[name] ?? standard,
  );
  const { services, volumes } = composeFile.parse(parse(text, { merge: true }));
  for (const [name, { volumes: used }] of Object.entries(services))
    for (const one of used)
      if (!Object.hasOwn(volumes, one.split(':')[0] ?? ''))
        throw new Error(`${name}: the volume of ${one} is not declared`);
  return new Map(Object.entries(services));
}

/** What `docker compose up` gives to the container. @param project before the names of volumes and of the network */
export function runArguments(name: string, one: Service, project: string): string[] {
  return [
    ...['--network', project, '--network-alias', name],
    ...(one.read_only ? ['--read-only', '--read-only-tmpfs=false'] : []),
    ...one.tmpfs.flatMap((path) => ['--tmpfs', path]),
    ...one.cap_drop.flatMap((all) => ['--cap-drop', all]),
    ...one.security_opt.flatMap((option) => ['--security-opt', option.replace(/:true$/, '')]),
    ...one.ports.flatMap((port) => ['--publish', port]),
    ...one.volumes.flatMap((volume) => ['--volume', `${project}-${volume}`]),
    ...['--stop-timeout', String(Number.parseInt(one.stop_grace_period, 10))],
    one.image,
    ...one.command,
  ];
}
