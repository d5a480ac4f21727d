/** Prometheus metrics through prom-client; one registry a program, names end in their unit. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

type Labels = Record<string, string>;

/** Registry of counters, histograms and gauges, by name. */
export interface Metrics {
  /** Counts up by one, or by `by`. */
  count(name: string, labels?: Labels, by?: number): void;
  /** Records a duration in seconds. */
  observeSeconds(name: string, labels: Labels, seconds: number): void;
  /** A value read when somebody scrapes. */
  gauge(name: string, help: string, read: () => number): void;
  /** Values by label, read when somebody scrapes; null: there is none now. */
  gauges(
    name: string,
    help: string,
    labels: readonly string[],
    read: () => Iterable<readonly [labels: Labels, value: number | null]>,
  ): void;
  contentType(): string;
  text(): Promise<string>;
}

interface Definition {
  readonly kind: 'counter' | 'histogram';
  readonly help: string;
  readonly labels: readonly string[];
}

/** From 0.5 ms to 60 s: a runner's answer to a slow link's. */
const BUCKETS_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60];

/** Gauges of the library that are called as counters are; each is the sum of another one over its types. */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
];

/**
 * @param definitions every counter and histogram of the program, by name; using another one is a type error at the call
 */
export function createMetrics<Name extends string>(definitions: Record<Name, Definition>): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
  const counters = new Map<string, Counter>();
  const histograms = new Map<string, Histogram>();
  for (const [name, { kind, help, labels }] of Object.entries<Definition>(definitions)) {
    const options = { name, help, labelNames: [...labels], registers: [registry] };
    if (kind === 'counter') counters.set(name, new Counter(options));
    else histograms.set(name, new Histogram({ ...options, buckets: BUCKETS_SECONDS }));
  }
  return {
    count: (name, labels = {}, by = 1) => counters.get(name)?.inc(labels, by),
    observeSeconds: (name, labels, seconds) => histograms.get(name)?.observe(labels, seconds),
    gauge(name, help, read) {
      new Gauge({
        name,
        help,
        registers: [registry],
        collect() {
          this.set(read());
        },
      });
    },
    gauges(name, help, labelNames, read) {
      new Gauge({
        name,
        help,
        labelNames: [...labelNames],
        registers: [registry],
        collect() {
          this.reset();
          for (const [labels, value] of read()) if (value !== null) this.set(labels, value);
        },
      });
    },
    contentType: () => registry.contentType,
    text: () => registry.metrics(),
  };
}
