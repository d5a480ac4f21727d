/**
 * What Home Assistant is told of a device, so that its entities appear by themselves: one message for the device and all of its entities
 * (MQTT discovery, device-based, since Home Assistant 2024.11), and the topics on which their states are. Pure. What the real one took is
 * held in test/fixtures/home-assistant/.
 */

/** A pipeline as its entities show it. */
export interface ShownPipeline {
  readonly name: string;
  /** Its answers say labels with scores. */
  readonly saysLabels: boolean;
  readonly hasPictures: boolean;
  readonly hasFeed: boolean;
  /** It asks a model of the cloud, so that there is something to agree with. */
  readonly asksCloud: boolean;
}

/** A device as its entities show it. */
export interface ShownDevice {
  readonly id: string;
  readonly version: string;
  /** Address of its page, where others can reach it. */
  readonly page: string | undefined;
  /** Prefix of the discovery topic; `homeassistant` unless it was changed there. */
  readonly prefix: string;
  readonly pipelines: readonly ShownPipeline[];
  /** Names of its local models. */
  readonly models: readonly string[];
}

/** Parts of a discovery message, in Home Assistant's short names. */
type Component = Readonly<Record<string, unknown>> & { readonly p: string };
/** Entities by their keys. */
export type Components = Readonly<Record<string, Component>>;

/** Topics of a device for Home Assistant. */
export const topicsOf = (device: string) => {
  const root = `outrider/ha/${device}`;
  return {
    availability: `${root}/availability`,
    link: `${root}/link`,
    outbox: `${root}/outbox`,
    state: (pipeline: string) => `${root}/pipeline/${pipeline}/state`,
    picture: (pipeline: string) => `${root}/pipeline/${pipeline}/picture`,
    feed: (pipeline: string) => `${root}/pipeline/${pipeline}/feed`,
    model: (model: string) => `${root}/model/${model}`,
    install: (model: string) => `${root}/model/${model}/install`,
  };
};

/** Topic of the discovery message itself. */
export const discoveryTopic = ({ prefix, id }: Pick<ShownDevice, 'prefix' | 'id'>): string =>
  `${prefix}/device/outrider_${id}/config`;

/** Payload of the command that installs an update. */
export const INSTALL = 'install';

/** The entities of a device. */
export function componentsOf(device: ShownDevice): Components {
  const topics = topicsOf(device.id);
  const unique = (key: string): string => `outrider_${device.id}_${key}`;
  const components: Record<string, Component> = {};
  const add = (key: string, component: Component): void => {
    components[key] = { ...component, unique_id: unique(key) };
  };
  add('link', {
    p: 'binary_sensor',
    name: 'Hub link',
    dev_cla: 'connectivity',
    ent_cat: 'diagnostic',
    stat_t: topics.link,
    pl_on: 'online',
    pl_off: 'offline',
  });
  add('outbox', {
    p: 'sensor',
    name: 'Outbox',
    icon: 'mdi:tray-arrow-up',
    ent_cat: 'diagnostic',
    stat_cla: 'measurement',
    unit_of_meas: 'requests',
    stat_t: topics.outbox,
  });
  for (const pipeline of device.pipelines)
    for (const [key, component] of ofPipeline(pipeline, topics)) add(`${pipeline.name}_${key}`, component);
  for (const model of device.models)
    add(`model_${model}`, {
      p: 'update',
      name: `Model ${model}`,
      title: model,
      ent_cat: 'config',
      dsp_prc: 0,
      stat_t: topics.model(model),
      cmd_t: topics.install(model),
      pl_inst: INSTALL,
    });
  return components;
}

function* ofPipeline(
  { name, saysLabels, hasPictures, hasFeed, asksCloud }: ShownPipeline,
  topics: ReturnType<typeof topicsOf>,
): Generator<readonly [string, Component]> {
  const stat_t = topics.state(name);
  yield [
    'label',
    {
      p: 'sensor',
      name: `${name} ${saysLabels ? 'label' : 'answer'}`,
      icon: 'mdi:tag-outline',
      stat_t,
      val_tpl: '{{ value_json.label }}',
      json_attr_t: stat_t,
    },
  ];
  const percent = { p: 'sensor', unit_of_meas: '%', stat_cla: 'measurement', sug_dsp_prc: 1, stat_t };
  if (saysLabels) yield ['score', { ...percent, name: `${name} score`, val_tpl: '{{ value_json.score }}' }];
  if (asksCloud)
    yield [
      'agreement',
      {
        ...percent,
        name: `${name} agreement`,
        ent_cat: 'diagnostic',
        val_tpl: '{{ value_json.agreement }}',
      },
    ];
  yield [
    'source',
    {
      p: 'sensor',
      name: `${name} source`,
      icon: 'mdi:source-branch',
      ent_cat: 'diagnostic',
      device_class: 'enum',
      options: ['edge', 'cloud'],
      stat_t,
      val_tpl: '{{ value_json.source }}',
    },
  ];
  if (hasPictures)
    yield [
      'picture',
      { p: 'image', name: `${name} picture`, img_t: topics.picture(name), content_type: 'image/jpeg' },
    ];
  if (hasFeed)
    yield [
      'feed',
      {
        p: 'sensor',
        name: `${name} feed`,
        icon: 'mdi:cctv',
        ent_cat: 'diagnostic',
        stat_t: topics.feed(name),
      },
    ];
}

/**
 * The message itself.
 *
 * @param gone platforms of the entities that were there before and are no more, by their keys: an entry of a platform alone takes one away
 */
export function discoveryMessage(
  device: ShownDevice,
  components: Components,
  gone: Readonly<Record<string, string>> = {},
): object {
  const { id, version, page } = device;
  return {
    dev: {
      ids: [`outrider_${id}`],
      name: id,
      mf: 'Outrider',
      mdl: 'agent',
      sw: version,
      sn: id,
      ...(page !== undefined && { cu: page }),
    },
    o: { name: 'outrider', sw: version },
    qos: 1,
    avty: [{ t: topicsOf(id).availability }],
    cmps: { ...components, ...Object.fromEntries(Object.entries(gone).map(([key, p]) => [key, { p }])) },
  };
}

/** Topics that a device keeps states on, beside its availability. */
export function stateTopicsOf({ id, pipelines, models }: ShownDevice): string[] {
  const topics = topicsOf(id);
  return [
    topics.link,
    topics.outbox,
    ...pipelines.flatMap(({ name, hasFeed, hasPictures }) => [
      topics.state(name),
      ...(hasPictures ? [topics.picture(name)] : []),
      ...(hasFeed ? [topics.feed(name)] : []),
    ]),
    ...models.map((model) => topics.model(model)),
  ];
}
