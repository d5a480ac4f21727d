/**
 * The accounts of a Mosquitto with its dynamic-security plugin, over MQTT: an account and a role per device, since 2.0.11 ignores
 * `%u` in its patterns, and one of both for the hub's own link. Only accounts that hold a role of ours are ever touched, so that
 * a device cannot be enrolled over another user of the broker.
 *
 * Measured (docs/decisions/0008): a change of the password, disabling and deleting end the client's connection; each changing
 * command writes the plugin's whole file while the broker waits, so that a message carries few of them.
 */
import { z } from 'zod';
import { deviceRights, HUB_FILTER, HUB_GROUP, hubFilters } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import type { Clock } from '../../shared/runtime/clock.ts';
import { AppError, toAppError } from '../../shared/runtime/errors.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { tryParseJson } from '../../shared/runtime/json.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { BrokerAccess } from '../ports.ts';

/** Admin link to a Mosquitto, and the account that the hub itself gets there. */
export interface DynsecAccessOptions {
  /** With the plugin's admin account; the hub's link gets an account of its own, with less. */
  readonly connect: () => Promise<MqttConnection>;
  readonly hubId: string;
  /** Ids of hubs that answer beside it: devices may send their chunks to these, and to no others. */
  readonly otherHubs?: readonly string[];
  /** Of the hub's own link. */
  readonly hubSecret: string;
  /** After each connect, when the hub's account is there. */
  readonly onReady: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}

const COMMANDS = '$CONTROL/dynamic-security/v1';
const RESPONSES = `${COMMANDS}/response`;
/** A broker that writes its file of 2,000 devices for someone else takes seconds. */
const ANSWER_MS = 10_000;
/** A page of roles has 1.1 KB each; our packets end at 1 MiB. */
const PAGE = 100;
/** Ten changes keep a broker with 1,000 devices from its other work for 0.2 s. */
const BATCH = 10;
/** After a failure that was not the connection's. */
const AGAIN_MS = 30_000;

interface Command {
  readonly command: string;
  readonly [field: string]: unknown;
}

const answers = z.object({
  responses: z
    .array(
      z.object({
        command: z.string(),
        correlationData: z.string().optional(),
        error: z.string().optional(),
        data: z.unknown().optional(),
      }),
    )
    .min(1),
});
type Answer = z.infer<typeof answers>['responses'][number];

const acl = z.object({ acltype: z.string(), topic: z.string(), allow: z.boolean() });
type Acl = z.infer<typeof acl>;
const role = z.object({ rolename: z.string(), acls: z.array(acl).default([]) });
const client = z.object({
  username: z.string(),
  roles: z.array(z.object({ rolename: z.string() })).default([]),
});
const rolePage = z.object({ totalCount: z.int(), roles: z.array(role) });
const clientPage = z.object({ totalCount: z.int(), clients: z.array(client) });
const defaults = z.object({ acls: z.array(z.object({ acltype: z.string(), allow: z.boolean() })) });

/** Accounts of devices at a Mosquitto broker. */
export class DynsecAccess implements BrokerAccess, Part {
  readonly #o: DynsecAccessOptions;
  readonly #waiting = new Map<string, { take(found: Answer[]): void; fail(error: AppError): void }>();
  #connection: MqttConnection | undefined;
  #cancelAgain = () => {};
  /** Its password is set once a start: each time would throw the link out. */
  #isHubKnown = false;
  /** Why no account is made here: the broker lets everybody do what only its account should allow. */
  #refusal: AppError | undefined;
  /** Messages logged in this episode of failures: once each, not at each try. */
  #told: string | undefined;

  constructor(options: DynsecAccessOptions) {
    this.#o = options;
  }

  async start(): Promise<void> {
    const connection = await this.#o.connect();
    this.#connection = connection;
    connection.onMessage((topic, payload) => {
      if (topic === RESPONSES) this.#onAnswers(payload);
    });
    connection.onDisconnect(() => {
      this.#cancelAgain();
      for (const { fail } of this.#waiting.values()) fail(new AppError('BROKER_UNREACHABLE'));
    });
    connection.onConnect(() => void this.#settle());
    await connection.subscribe([RESPONSES]);
  }

  async stop(): Promise<void> {
    this.#cancelAgain();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.end();
  }

  async allow(deviceId: string, secret: string): Promise<void> {
    if (this.#refusal) throw this.#refusal;
    const rights = this.#rightsOf(deviceId);
    await this.#put({ username: deviceId, password: secret, rolename: this.#roleOf(deviceId), acls: rights });
  }

  async forbid(deviceId: string): Promise<void> {
    const rolename = this.#roleOf(deviceId);
    const [found] = await this.#ask([{ command: 'getClient', username: deviceId }]);
    const isOurs = found && holds(parsedClient(found), rolename);
    await this.#change([
      ...(isOurs ? [{ command: 'deleteClient', username: deviceId }] : []),
      { command: 'deleteRole', rolename },
    ]);
  }

  async sync(wanted: () => ReadonlySet<string>): Promise<string[]> {
    await this.#requireClosedDefaults();
    const roles = await this.#all('listRoles', rolePage, ({ totalCount, roles: page }) => [totalCount, page]);
    const clients = await this.#all('listClients', clientPage, ({ totalCount, clients: page }) => [
      totalCount,
      page,
    ]);
    const ours = new Map(
      roles.flatMap(({ rolename, acls }) => {
        const id = this.#deviceOf(rolename);
        return id === undefined ? [] : [[id, acls] as const];
      }),
    );
    const accounts = new Set(
      clients.filter((one) => holds(one, this.#roleOf(one.username))).map(({ username }) => username),
    );
    await this.#eachBatch([...ours], ([id, acls]) => {
      const rolename = this.#roleOf(id);
      if (!wanted().has(id))
        return [
          ...(accounts.has(id) ? [{ command: 'deleteClient', username: id }] : []),
          { command: 'deleteRole', rolename },
        ];
      const rights = this.#rightsOf(id);
      return isSame(acls, rights) ? [] : [{ command: 'modifyRole', rolename, acls: rights }];
    });
    return [...wanted()].filter((id) => !accounts.has(id));
  }

  /** The hub's account first: its link cannot connect without. */
  async #settle(): Promise<void> {
    try {
      await this.#putHub();
      await this.#o.onReady();
      this.#told = undefined;
    } catch (error) {
      const { code } = toAppError(error);
      if (this.#told !== code) this.#o.logger.failure('access.not_settled', error);
      this.#told = code;
      if (this.#connection?.connected)
        this.#cancelAgain = this.#o.clock.after(AGAIN_MS, () => void this.#settle());
    }
  }

  async #putHub(): Promise<void> {
    const { hubId, hubSecret } = this.#o;
    const [found] = await this.#ask([{ command: 'getClient', username: hubId }]);
    if (this.#isHubKnown && found && holds(parsedClient(found), this.#roleOf())) return;
    const acls = aclsOf({
      writes: [HUB_FILTER],
      reads: [HUB_FILTER, `$share/${HUB_GROUP}/${hubFilters.infer}`],
    });
    await this.#put({ username: hubId, password: hubSecret, rolename: this.#roleOf(), acls });
    this.#isHubKnown = true;
  }

  /** Makes an account with its role; one that is there gets the password, its connection ends. */
  async #put(account: { username: string; password: string; rolename: string; acls: Acl[] }): Promise<void> {
    const { username, password, rolename, acls } = account;
    const [, made] = await this.#change([
      { command: 'createRole', rolename, textname: 'Outrider', acls },
      {
        command: 'createClient',
        username,
        // A client with another client id could throw its owner out.
        clientid: username,
        password,
        textname: 'Outrider',
        roles: [{ rolename }],
      },
    ]);
    if (made?.error === undefined) return;
    const [found] = await this.#ask([{ command: 'getClient', username }]);
    if (!found || !holds(parsedClient(found), rolename)) {
      await this.#change([{ command: 'deleteRole', rolename }]);
      throw new AppError('CONFLICT', `the broker has an account ${username} that is not of this hub`);
    }
    await this.#change([
      { command: 'setClientPassword', username, password },
      { command: 'enableClient', username },
    ]);
  }

  /** @throws CONFIG_INVALID */
  async #requireClosedDefaults(): Promise<void> {
    const [found] = await this.#ask([{ command: 'getDefaultACLAccess' }]);
    const parsed = defaults.safeParse(found?.data);
    const open = parsed.success ? parsed.data.acls.filter(isOpen).map(({ acltype }) => acltype) : [];
    this.#refusal =
      open.length === 0
        ? undefined
        : new AppError(
            'CONFIG_INVALID',
            `the broker allows ${open.join(' and ')} to everybody by default; deny it (docs/install.md)`,
          );
    if (this.#refusal) throw this.#refusal;
  }

  async #eachBatch<T>(items: readonly T[], commandsFor: (item: T) => Command[]): Promise<void> {
    for (let at = 0; at < items.length; at += BATCH) {
      const commands = items.slice(at, at + BATCH).flatMap(commandsFor);
      if (commands.length > 0) await this.#change(commands);
    }
  }

  async #all<Page, T>(
    command: string,
    schema: z.ZodType<Page>,
    read: (page: Page) => [totalCount: number, items: T[]],
  ): Promise<T[]> {
    const all: T[] = [];
    for (;;) {
      const [found] = await this.#ask([{ command, verbose: true, count: PAGE, offset: all.length }]);
      const [totalCount, items] = read(schema.parse(found?.data));
      all.push(...items);
      if (items.length === 0 || all.length >= totalCount) return all;
    }
  }

  /** Asks, and takes "it is so already" for done. @throws BROKER_UNREACHABLE, INVARIANT_BROKEN (refused by the plugin) */
  async #change(commands: readonly Command[]): Promise<Answer[]> {
    const found = await this.#ask(commands);
    const refused = found.find(({ error }) => error !== undefined && !IS_SO_ALREADY.test(error));
    if (refused)
      throw new AppError('INVARIANT_BROKEN', `the broker refused ${refused.command}: ${refused.error}`);
    return found;
  }

  /** One message with all commands. @returns their answers, in their order @throws BROKER_UNREACHABLE */
  async #ask(commands: readonly Command[]): Promise<Answer[]> {
    const connection = this.#connection;
    if (!connection?.connected) throw new AppError('BROKER_UNREACHABLE');
    const correlationData = newId();
    const text = JSON.stringify({ commands: commands.map((one) => ({ ...one, correlationData })) });
    const givingUp = new AbortController();
    try {
      return await new Promise<Answer[]>((take, fail) => {
        this.#waiting.set(correlationData, { take, fail });
        this.#o.clock.sleep(ANSWER_MS, givingUp.signal).then(() => fail(noAnswer()), ignore);
        connection.publish(COMMANDS, text, { qos: 1 }).catch((error: unknown) => fail(toAppError(error)));
      });
    } finally {
      givingUp.abort();
      this.#waiting.delete(correlationData);
    }
  }

  #onAnswers(payload: Uint8Array): void {
    const parsed = answers.safeParse(tryParseJson(payload));
    if (!parsed.success) {
      this.#o.logger.warn('access.bad_answer', { bytes: payload.length });
      return;
    }
    const { responses } = parsed.data;
    this.#waiting.get(responses[0]?.correlationData ?? '')?.take(responses);
  }

  #rightsOf(deviceId: string): Acl[] {
    return aclsOf(deviceRights(deviceId, [this.#o.hubId, ...(this.#o.otherHubs ?? [])]));
  }

  /** The hub's own role, when no device is given; a role with this prefix is ours. */
  #roleOf(deviceId?: string): string {
    return deviceId === undefined || deviceId === this.#o.hubId
      ? `outrider/${this.#o.hubId}`
      : `outrider/${this.#o.hubId}/${deviceId}`;
  }

  #deviceOf(rolename: string): string | undefined {
    const prefix = `outrider/${this.#o.hubId}/`;
    return rolename.startsWith(prefix) ? rolename.slice(prefix.length) : undefined;
  }
}

/** The plugin's words, 2.0.11. */
const IS_SO_ALREADY = /^(Client|Role) (already exists|not found)$/;

const noAnswer = (): AppError =>
  new AppError(
    'BROKER_UNREACHABLE',
    'the broker’s dynamic-security plugin does not answer: is it loaded, and may this account use it?',
  );

const ignore = (): void => undefined;

const isOpen = ({ acltype, allow }: { acltype: string; allow: boolean }): boolean =>
  allow && ['publishClientSend', 'subscribe'].includes(acltype);

/** `+` in a filter that is read means itself: only that very filter is granted. */
function aclsOf({ writes, reads }: { writes: readonly string[]; reads: readonly string[] }): Acl[] {
  return [
    ...writes.map((topic) => ({ acltype: 'publishClientSend', topic, allow: true })),
    ...reads.map((topic) => ({
      acltype: isHubs(topic) ? 'subscribePattern' : 'subscribeLiteral',
      topic,
      allow: true,
    })),
  ];
}

const isHubs = (topic: string): boolean => topic.endsWith('#');

const keyOf = ({ acltype, topic, allow }: Acl): string => `${acltype} ${topic} ${allow}`;
const isSame = (one: readonly Acl[], other: readonly Acl[]): boolean =>
  one.map(keyOf).sort().join('\n') === other.map(keyOf).sort().join('\n');

const parsedClient = ({ data }: Answer): z.infer<typeof client> | undefined =>
  z.object({ client }).safeParse(data).data?.client;

const holds = (one: z.infer<typeof client> | undefined, rolename: string): boolean =>
  one?.roles.some((held) => held.rolename === rolename) === true;
