/**
 * Everything that one valid credential, or none, can pour into a broker: the same list for each broker. While each goes on, another
 * device asks the hub and is answered, and the memory of the broker's process stays below a stated bound.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay, setImmediate as turn } from 'node:timers/promises';
import { HubLink } from '../../cloud/link/hub-link.ts';
import { deviceTopics, HUB_PRESENCE_FILTER, hubTopics } from '../../shared/contract/topics.ts';
import type { MqttConnection } from '../../shared/mqtt/connect.ts';
import { systemClock } from '../../shared/runtime/clock.ts';
import { newId } from '../../shared/runtime/ids.ts';
import { silentLogger } from '../../shared/runtime/logger.ts';
import { residentBytes } from '../../shared/runtime/resident-memory.ts';
import { TEST_USERS, type TestBroker, type TestUser } from './broker.ts';
import { connectAs } from './link-contract.ts';
import {
  acknowledgement,
  type Connect,
  connectPacket,
  type Level,
  PINGREQ,
  properties,
  publishPacket,
  RawClient,
  subscribePacket,
  unsubscribePacket,
  userProperty,
} from './raw-mqtt.ts';

export interface FloodOptions {
  readonly name: string;
  readonly start: (users: readonly TestUser[]) => Promise<TestBroker>;
  readonly levels: readonly Level[];
  /** It throws messages away whose receiver has too many waiting, and so others’ as well as the attacker’s. */
  readonly isLossy: boolean;
  /** How long each flood goes on. */
  readonly floodMs: number;
  /** By how much the broker's process may grow over all floods together. */
  readonly maxGrowthBytes: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const hub = hubTopics('hub-1');
const SECRET = 'flood-secret';
/** Written at a time, so that one write is not one packet. */
const BLOCK_BYTES = 64 * KIB;

/** One attacker, and until when. Each flood has a device of its own, so that none begins with what another has used up. */
interface Attack {
  readonly port: number;
  readonly level: Level;
  readonly id: string;
  readonly mine: ReturnType<typeof deviceTopics>;
  isOver(): boolean;
  /** Resolves when it is. */
  readonly over: Promise<unknown>;
}

/** CONNECT as itself, unless told otherwise. */
const hello = ({ id, level }: Attack, options: Partial<Connect> = {}): Buffer =>
  connectPacket({ clientId: id, username: id, password: SECRET, level, ...options });

/** What is poured, made anew for each time. */
type Pour = (n: number) => Buffer;

interface Flood {
  readonly what: string;
  /** Only in this version of MQTT. */
  readonly level?: Level;
  run(attack: Attack): Promise<void>;
}

const publishing = (
  make: (attack: Attack, n: number) => Parameters<typeof publishPacket>[0],
  connect?: Partial<Connect>,
) => pouring((attack, n) => publishPacket({ level: attack.level, ...make(attack, n) }), connect);

/** Pours packets out, connects again where it is hung up on, and reads nothing where it is told so. */
function pouring(
  make: (attack: Attack, n: number) => Buffer,
  connect: Partial<Connect> = {},
  { reads = true, first }: { reads?: boolean; first?: (attack: Attack) => Buffer } = {},
): Flood['run'] {
  return async (attack) => {
    for (let n = 0; !attack.isOver(); ) {
      const client = new RawClient(attack.port, hello(attack, connect));
      let isOpen = (await Promise.race([client.connack, attack.over])) === 0;
      if (!reads) client.stopReading();
      if (isOpen && first) isOpen = await client.write(first(attack));
      while (isOpen && !attack.isOver()) {
        const { block, count } = blockOf((i) => make(attack, n + i));
        isOpen = (await Promise.race([client.write(block), attack.over])) === true;
        n += count;
        // The other device and the hub are in this process, too.
        await turn();
      }
      client.end();
    }
  };
}

/** As many packets as a write is worth. */
function blockOf(make: Pour): { block: Buffer; count: number } {
  const packets: Buffer[] = [];
  for (let bytes = 0; bytes < BLOCK_BYTES && packets.length < 1_000; ) {
    const one = make(packets.length);
    packets.push(one);
    bytes += one.length;
  }
  return { block: Buffer.concat(packets), count: packets.length };
}

/** One connection after the other, as fast as they go. */
const connecting =
  (make: (attack: Attack, n: number) => Buffer, holdMs = 1_000): Flood['run'] =>
  async (attack) => {
    for (let n = 0; !attack.isOver(); n++) {
      const client = new RawClient(attack.port, make(attack, n));
      await Promise.race([client.connack, delay(holdMs), attack.over]);
      client.end();
    }
  };

/** Connections that say this much and then nothing. */
const holding = (count: number, first: Buffer): Flood['run'] =>
  async function hold({ port, isOver }) {
    const clients: RawClient[] = [];
    while (!isOver()) {
      if (clients.length < count) clients.push(new RawClient(port, first));
      await delay(clients.length < count ? 0 : 20);
    }
    for (const client of clients) client.end();
  };

const large = Buffer.alloc(MIB - KIB, 'x');
const medium = Buffer.alloc(64 * KIB - KIB, 'x');
const small = Buffer.from('{}');

const FLOODS: readonly Flood[] = [
  {
    what: 'retained messages to hubs that there are not',
    run: publishing(({ id }, n) => ({ topic: hubTopics(`h${n}`).chunk(id), payload: medium, retain: true })),
  },
  {
    what: 'messages to hubs that there are not',
    run: publishing(({ id }, n) => ({ topic: hubTopics(`h${n}`).chunk(id), payload: medium, qos: 1 })),
  },
  {
    what: 'retained messages below its own topics',
    run: publishing(({ mine }, n) => ({ topic: `${mine.infer}/${n}`, payload: medium, retain: true })),
  },
  {
    what: 'retained messages where nothing is retained',
    run: publishing(({ id, mine }, n) => ({
      topic: [mine.infer, mine.telemetry, mine.results, hub.chunk(id)][n % 4] ?? '',
      payload: medium,
      retain: true,
    })),
  },
  {
    what: 'huge reports, retained',
    run: publishing(({ mine }, n) => ({
      topic: n % 2 ? mine.reported : mine.presence,
      payload: large,
      retain: true,
    })),
  },
  {
    what: 'QoS 2 without an end, in a session that is kept',
    run: publishing(({ mine }, n) => ({ topic: mine.infer, payload: medium, qos: 2, id: (n % 65_535) + 1 }), {
      isKept: true,
    }),
  },
  {
    what: 'QoS 1 without reading an acknowledgement',
    run: pouring(
      ({ level, mine }, n) =>
        publishPacket({ topic: mine.telemetry, payload: small, qos: 1, id: (n % 65_535) + 1, level }),
      {},
      { reads: false },
    ),
  },
  {
    what: 'small messages at QoS 0',
    run: publishing(({ mine }) => ({ topic: mine.telemetry, payload: small })),
  },
  { what: 'messages of no length', run: publishing(({ mine }) => ({ topic: mine.telemetry })) },
  {
    what: 'the largest messages at QoS 0',
    run: publishing(({ id }) => ({ topic: hub.chunk(id), payload: large })),
  },
  {
    what: 'requests whose replies it does not read',
    run: pouring(
      ({ level, mine }, n) =>
        publishPacket({ topic: mine.infer, payload: medium, qos: 1, id: (n % 65_535) + 1, level }),
      { isKept: true },
      { reads: false, first: ({ level, mine }) => subscribePacket([mine.reply], { level }) },
    ),
  },
  {
    what: 'requests whose replies come when it is away',
    async run(attack) {
      const { port, level, mine } = attack;
      while (!attack.isOver()) {
        const client = new RawClient(port, hello(attack, { isKept: true }));
        await Promise.race([client.connack, attack.over]);
        const asks = blockOf((i) =>
          publishPacket({ topic: mine.infer, payload: medium, qos: 1, id: i + 1, level }),
        );
        client.socket.write(subscribePacket([mine.reply], { level }));
        client.socket.end(asks.block);
        await Promise.race([client.closed, attack.over]);
        client.end();
      }
    },
  },
  {
    what: 'a SUBSCRIBE of thousands of filters',
    run: pouring(
      ({ level, mine }, n) =>
        subscribePacket([mine.reply, ...Array.from({ length: 3_000 }, (_, i) => `outrider/v1/${n}/${i}`)], {
          level,
        }),
      { isKept: true },
    ),
  },
  {
    what: 'the same filters again and again, without reading what they bring',
    run: pouring(
      ({ level, mine }) => subscribePacket([mine.reply, mine.desired, HUB_PRESENCE_FILTER], { level }),
      {},
      { reads: false },
    ),
  },
  {
    what: 'UNSUBSCRIBE again and again',
    run: pouring(({ level, mine }, n) => unsubscribePacket([mine.reply, `x/${n}`], level), { isKept: true }),
  },
  { what: 'PINGREQ without reading a PINGRESP', run: pouring(() => PINGREQ, {}, { reads: false }) },
  {
    what: 'acknowledgements of what nobody sent',
    run: pouring((_, n) => acknowledgement([0x40, 0x50, 0x62, 0x70][n % 4] ?? 0x40, (n % 65_535) + 1), {
      isKept: true,
    }),
  },
  {
    what: 'sessions under many client ids',
    run: connecting((attack, n) => hello(attack, { clientId: `${attack.id}-${n}`, isKept: true })),
  },
  {
    what: 'connection after connection with its id, each with a last will',
    run: connecting((attack) => {
      const will = { topic: attack.mine.presence, payload: small, qos: 1, retain: true };
      return hello(attack, { will, isKept: true });
    }),
  },
  {
    what: 'large last wills, retained, to others’ topics',
    run: connecting((attack, n) => {
      const will = { topic: hubTopics(`h${n}`).presence, payload: medium, qos: 2, retain: true };
      return hello(attack, { will });
    }),
  },
  { what: 'connections that say nothing, without a credential', run: holding(1_500, Buffer.alloc(0)) },
  {
    what: 'connections that never end their CONNECT, without a credential',
    run: holding(1_500, Buffer.from([0x10])),
  },
  { what: 'wrong secrets', run: connecting((attack) => hello(attack, { password: 'guessed' }), 50) },
  {
    what: 'topic aliases',
    level: 5,
    run: publishing(({ mine }, n) => ({
      topic: mine.telemetry,
      payload: small,
      properties: properties(Buffer.from([0x23, (n >> 8) & 0xff, (n & 0xff) | 1])),
    })),
  },
  {
    what: 'huge user properties',
    level: 5,
    run: publishing(({ mine }) => ({
      topic: mine.telemetry,
      payload: small,
      properties: properties(
        ...Array.from({ length: 200 }, (_, i) => userProperty(`${i}`, 'x'.repeat(4_000))),
      ),
    })),
  },
];

/** Declares the tests. */
export function floods({ name, start, levels, isLossy, floodMs, maxGrowthBytes }: FloodOptions): void {
  describe(`floods into ${name}`, () => {
    let scene: Scene;
    const all = levels.flatMap((level) =>
      FLOODS.filter((one) => one.level === undefined || one.level === level).map((flood) => ({
        ...flood,
        level,
      })),
    );
    const idOf = (index: number): string => `flood-${index}`;
    const users: TestUser[] = [
      ...TEST_USERS,
      ...all.map((_, i): TestUser => ({ id: idOf(i), secret: SECRET, role: 'device' })),
    ];
    before(async () => {
      scene = await Scene.open(await start(users), isLossy);
    });
    after(() => scene.close());

    for (const [i, { what, level, run }] of all.entries())
      it(`${what} (MQTT ${level === 4 ? '3.1.1' : '5'}): others are answered, memory stays`, async (t) => {
        const startMonoMs = performance.now();
        const hasLastedMs = (ms: number) => performance.now() - startMonoMs >= ms;
        let isOver = false;
        let end = (): void => undefined;
        const over = new Promise<void>((resolve) => {
          end = resolve;
        });
        const id = idOf(i);
        const mine = deviceTopics(id);
        const attack = run({ port: scene.broker.port, level, id, mine, isOver: () => isOver, over });
        const answered = await scene.askWhile(
          (count) => !hasLastedMs(floodMs) || (count < MIN_ANSWERS && !hasLastedMs(GIVE_UP_MS)),
        );
        isOver = true;
        end();
        await attack;
        await scene.ask();
        const grownBytes = scene.highestBytes - scene.firstBytes;
        t.diagnostic(
          `${answered} answers, ${scene.repeated} asked again, ${Math.round(grownBytes / MIB)} MiB more at most`,
        );
        assert.ok(answered >= MIN_ANSWERS, `${answered} answers meanwhile`);
        assert.ok(grownBytes <= maxGrowthBytes, `the broker grew by ${Math.round(grownBytes / MIB)} MiB`);
        assert.equal(scene.lost, 0, 'neither hub nor device lost its connection');
      });
  });
}

/** A device that is served asks hundreds of times a second; on the busiest machine some, and the flood goes on until then. */
const MIN_ANSWERS = 5;
/** Nobody may wait for seconds, each time. */
const GIVE_UP_MS = 20_000;
const SAMPLE_MS = 50;
const ASK_AGAIN_MS = 200;

/** The hub's own link, which sends back what it is sent, a device that minds its own business, and the broker's memory. */
class Scene {
  readonly broker: TestBroker;
  readonly #link: HubLink;
  readonly #device: MqttConnection;
  readonly #waiting = new Map<string, () => void>();
  readonly #sampling: NodeJS.Timeout;
  readonly #isLossy: boolean;
  /** Requests that were asked once more. */
  repeated = 0;
  firstBytes = 0;
  highestBytes = 0;
  lost = 0;

  private constructor(broker: TestBroker, link: HubLink, device: MqttConnection, isLossy: boolean) {
    this.broker = broker;
    this.#isLossy = isLossy;
    this.#link = link;
    this.#device = device;
    device.onDisconnect(() => this.lost++);
    device.onMessage((_topic, payload) => this.#waiting.get(Buffer.from(payload).toString())?.());
    this.#sampling = setInterval(() => void this.#sample(), SAMPLE_MS);
  }

  static async open(broker: TestBroker, isLossy: boolean): Promise<Scene> {
    const connection = await connectAs(broker, 'hub-1', { cleanSession: true });
    const link = new HubLink({
      hubId: 'hub-1',
      instance: newId(),
      connect: async () => connection,
      devices: {
        isActive: () => true,
        seen: () => undefined,
        reported: () => undefined,
        counted: () => undefined,
        answered: () => undefined,
        inputShared: () => undefined,
      },
      clock: systemClock,
      logger: silentLogger,
    });
    link.onRequest((device, frame) => void link.reply(device, frame).catch(() => undefined));
    await link.start();
    const device = await connectAs(broker, 'gate-02', { cleanSession: true });
    await device.subscribe([deviceTopics('gate-02').reply]);
    const scene = new Scene(broker, link, device, isLossy);
    connection.onDisconnect(() => scene.lost++);
    // What it takes to serve at all is no growth.
    const warmUntilMonoMs = performance.now() + 300;
    await scene.askWhile(() => performance.now() < warmUntilMonoMs);
    await scene.#sample();
    scene.firstBytes = scene.highestBytes;
    return scene;
  }

  async close(): Promise<void> {
    clearInterval(this.#sampling);
    this.lost = Number.NaN;
    await Promise.all([this.#link.stop(), this.#device.end()]);
    await this.broker.stop();
  }

  /** A request of the other device, and its answer; a broker that throws requests away is asked again, as an outbox does. */
  async ask(): Promise<void> {
    const nonce = newId();
    let isAnswered = false;
    const answered = new Promise<void>((resolve) => this.#waiting.set(nonce, resolve)).then(() => {
      isAnswered = true;
    });
    for (let tries = 0; !isAnswered; tries++) {
      this.repeated += Math.min(tries, 1);
      await this.#device.publish(deviceTopics('gate-02').infer, nonce, { qos: 1 });
      await Promise.race([answered, ...(this.#isLossy ? [delay(ASK_AGAIN_MS)] : [])]);
    }
    this.#waiting.delete(nonce);
  }

  /** One request after the other. @returns how many have been answered */
  async askWhile(goesOn: (answered: number) => boolean): Promise<number> {
    let answered = 0;
    for (; goesOn(answered); answered++) await this.ask();
    return answered;
  }

  async #sample(): Promise<void> {
    const bytes = this.broker.pid === undefined ? 0 : await residentBytes(this.broker.pid);
    this.highestBytes = Math.max(this.highestBytes, bytes ?? 0);
  }
}
