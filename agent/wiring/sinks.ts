/** Makes the sinks that a pipeline's configuration asks for, and ends their files and connections. */
import { resolve } from 'node:path';
import { connectMqtt } from '../../shared/mqtt/connect.ts';
import type { Part } from '../../shared/runtime/lifecycle.ts';
import type { Logger } from '../../shared/runtime/logger.ts';
import type { PipelineConfig } from '../config/pipeline.ts';
import type { Sink } from '../ports.ts';
import { FileSink } from '../sink/file-sink.ts';
import { MqttSink } from '../sink/mqtt-sink.ts';

/** Maker of sinks, which owns their files and connections and closes them at the stop. */
export class SinkMaker implements Part {
  readonly #dataDir: string;
  readonly #logger: Logger;
  readonly #ends: (() => Promise<void>)[] = [];
  /** By path: two writers of one file would write over each other. */
  readonly #files = new Map<string, FileSink>();

  constructor(dataDir: string, logger: Logger) {
    this.#dataDir = dataDir;
    this.#logger = logger;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#ends.map((end) => end()));
  }

  async make(pipeline: PipelineConfig, device: string): Promise<Sink[]> {
    return Promise.all(
      pipeline.sinks.map(async (sink, index): Promise<Sink> => {
        if (sink.type === 'file') return this.#fileSink(resolve(this.#dataDir, sink.path), sink.maxBytes);
        const { url, username = '', password = '', topic } = sink;
        const connection = await connectMqtt({
          url,
          clientId: `${device}-${pipeline.name}-${index}`,
          username,
          password,
          logger: this.#logger,
        });
        this.#ends.push(() => connection.end());
        return new MqttSink({ connection, topic, qos: 1 });
      }),
    );
  }

  #fileSink(path: string, maxBytes: number | undefined): FileSink {
    const known = this.#files.get(path);
    if (known) return known;
    const made = new FileSink({ path, ...(maxBytes !== undefined && { maxBytes }) });
    this.#files.set(path, made);
    this.#ends.push(() => made.close());
    return made;
  }
}
