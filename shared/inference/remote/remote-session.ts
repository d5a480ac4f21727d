/**
 * A graph that runs elsewhere, behind the `Session` of a task: a server of the Open Inference Protocol. What the server says of the model is
 * checked against the graph in the folder before it is believed, and every answer against it again.
 */
import { basename } from 'node:path';
import { readOnnxGraph } from '../../release/import/onnx-graph.ts';
import { AppError } from '../../runtime/errors.ts';
import {
  DATATYPES,
  isElementType,
  type Tensors,
  type TensorValue,
} from '../../tasks/tensor/element-types.ts';
import type { TensorSpec } from '../../tasks/tensor/signature.ts';
import type { OpenSession, Session } from '../runner/graph-session.ts';
import { EngineHttp, type EnginePlace, failed } from './engine-http.ts';
import {
  type RemoteModel,
  type RemoteTensor,
  readRemoteMetadata,
  runRemotely,
} from './open-inference-client.ts';

/** Server and model that a runner asks in the place of its own graph. */
export interface RemoteGraph extends EnginePlace {
  readonly model: RemoteModel;
}

/** @throws (when it is opened) ENGINE_MISFIT (the server's model is another), and as `EngineHttp` */
export const openRemotely =
  (engine: RemoteGraph): OpenSession =>
  async ({ modelPath, executionProvider }): Promise<Session> => {
    const { inputs, outputs } = await readOnnxGraph(modelPath);
    const http = new EngineHttp(engine);
    const { model, timeoutMs } = engine;
    const told = await readRemoteMetadata(http, model);
    const where = `${model.name} at ${new URL(engine.url).origin}`;
    requireFit(where, { kind: 'input', own: inputs, told: told.inputs, file: basename(modelPath) });
    requireFit(where, { kind: 'output', own: outputs, told: told.outputs, file: basename(modelPath) });
    const allNames = outputs.map(({ name }) => name);
    return {
      ...{ inputs, outputs, executionProvider },
      async run(feeds, names = allNames) {
        const given = await runRemotely(http, model, {
          ...{ feeds, outputs: names, isBinary: told.isBinary, timeoutMs },
        });
        const rows = rowsOf(feeds, inputs);
        return http.naming(() =>
          Object.fromEntries(
            Object.entries(given).map(([name, value]) => [name, checked(name, value, { outputs, rows })]),
          ),
        );
      },
    };
  };

/** A server that does not describe its tensors is believed by its answers alone. @throws ENGINE_MISFIT */
function requireFit(
  where: string,
  {
    kind,
    own,
    told,
    file,
  }: {
    readonly kind: 'input' | 'output';
    readonly own: readonly TensorSpec[];
    readonly told: readonly RemoteTensor[];
    readonly file: string;
  },
): void {
  if (told.length === 0) return;
  for (const { name, type, dims } of own) {
    const other = told.find((one) => one.name === name);
    // An output that the server does not offer is missed when it is asked for.
    if (!other && kind === 'output' && own.length > 1) continue;
    const wanted = isElementType(type) ? DATATYPES[type] : type;
    if (!other)
      throw misfit(
        `${where} has no ${kind} ${name}, which ${file} has; it has ${told.map((one) => one.name).join(', ')}`,
      );
    if (other.datatype !== wanted)
      throw misfit(`${where} has ${other.datatype} in ${kind} ${name}, and ${file} ${wanted}`);
    if (!fits(dims, other.shape))
      throw misfit(
        `${where} has the shape [${other.shape}] for ${kind} ${name}, and ${file} [${dims.map((dim) => dim ?? -1)}]`,
      );
  }
  const strange =
    kind === 'input' ? told.find(({ name }) => !own.some((one) => one.name === name)) : undefined;
  if (strange) throw misfit(`${where} wants an input ${strange.name}, which ${file} has not`);
}

const misfit = (message: string): AppError => new AppError('ENGINE_MISFIT', message);

/** Where both say a length it is the same. */
const fits = (dims: TensorSpec['dims'], shape: readonly number[]): boolean =>
  dims.length === shape.length &&
  dims.every((dim, at) => dim === null || shape[at] === -1 || dim === shape[at]);

/** Rows of a batch, where the first axis of all inputs is dynamic; undefined: it is none. */
function rowsOf(feeds: Tensors, inputs: readonly TensorSpec[]): number | undefined {
  const counts = new Set(
    inputs.map(({ name, dims }) => (dims.length > 0 && dims[0] === null ? feeds[name]?.dims[0] : undefined)),
  );
  const [only] = counts;
  return counts.size === 1 ? only : undefined;
}

/** @throws ENGINE_FAILED where it is not what the graph would give */
function checked(
  name: string,
  value: TensorValue,
  { outputs, rows }: { readonly outputs: readonly TensorSpec[]; readonly rows: number | undefined },
): TensorValue {
  const own = outputs.find((one) => one.name === name);
  if (!own) throw failed(`gives ${name}, which the graph has not`);
  if (own.type !== value.type) throw failed(`gives ${name} as ${value.type}; it is ${own.type}`);
  const isBatch = rows !== undefined && own.dims[0] === null;
  if (!fits(own.dims, value.dims) || (isBatch && value.dims[0] !== rows))
    throw failed(
      `gives ${name} in the shape [${value.dims}] for ${rows ?? 'these'} rows; it is [${own.dims.map((dim) => dim ?? -1)}]`,
    );
  return value;
}
