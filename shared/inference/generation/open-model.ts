/**
 * Opens the graphs of a model that generates behind the library's model class. Where the exporter left the decoder in two
 * (`decoder_model`, `decoder_with_past_model`), the library knows of neither: each graph is opened by itself, and the model's own
 * class is given them, once for the first step and once for those after it.
 */
import { AppError } from '../../runtime/errors.ts';
import { type Decoder, hasPast, type LibraryModel } from './decoder.ts';

type Library = typeof import('@huggingface/transformers');
type Sessions = LibraryModel['sessions'];

/** Class of the library that chooses a model's own by its `model_type`. */
export type AutoClass =
  | 'AutoModelForSeq2SeqLM'
  | 'AutoModelForCausalLM'
  | 'AutoModelForSpeechSeq2Seq'
  | 'AutoModelForCTC'
  | 'AutoModelForVision2Seq';

/** What to open, and how. */
export interface Opening {
  readonly library: Library;
  /** The model's folder, absolute. */
  readonly path: string;
  readonly autoClass: AutoClass;
  /** Stems of its graphs, the main one first. */
  readonly graphs: readonly string[];
  readonly modelType: string;
  /** The document of `generation_config.json`; null where there is none. */
  readonly generationConfig: object | null;
  /** As `from_pretrained` takes them. */
  readonly options: object;
}

const ENCODER = 'encoder_model';
const FIRST = 'decoder_model';
const LATER = 'decoder_with_past_model';

/** @throws what the library throws */
export async function openModel(opening: Opening): Promise<Decoder> {
  const { library, path, autoClass, graphs, options } = opening;
  const open = async (graph?: string): Promise<LibraryModel> =>
    (await library[autoClass].from_pretrained(path, {
      ...options,
      ...(graph !== undefined && { model_file_name: graph }),
    })) as unknown as LibraryModel;
  const [main = 'model'] = graphs;
  const isSplit = graphs.includes(FIRST);
  if (graphs.includes(ENCODER)) return isSplit ? openParts(opening) : cachedWhereItCan(await open());
  const first = await open(main);
  if (!isSplit) return cachedWhereItCan(first);
  return { first, later: graphs.includes(LATER) ? await open(LATER) : undefined };
}

/** One graph for every step; without a cache where it takes none. */
const cachedWhereItCan = (model: LibraryModel): Decoder => ({
  first: model,
  later: hasPast(model) ? model : undefined,
});

async function openParts(opening: Opening): Promise<Decoder> {
  const { library, path, graphs, generationConfig, options } = opening;
  const open = async (graph: string): Promise<LibraryModel> =>
    (await library.PreTrainedModel.from_pretrained(path, {
      ...options,
      model_file_name: graph,
    })) as unknown as LibraryModel;
  const Model = classOf(opening);
  const encoder = await open(ENCODER);
  const around = async (graph: string): Promise<LibraryModel> => {
    const sessions = {
      model: encoder.sessions.model,
      decoder_model_merged: (await open(graph)).sessions.model,
    };
    return new Model(encoder.config, sessions, { generation_config: generationConfig });
  };
  const first = await around(FIRST);
  return { first, later: graphs.includes(LATER) ? await around(LATER) : undefined };
}

type ModelClass = new (
  config: object,
  sessions: Sessions,
  configs: { readonly generation_config: object | null },
) => LibraryModel;

/** The model's own class, as `from_pretrained` of the library chooses it. @throws MODEL_INVALID */
function classOf({ library, autoClass, modelType }: Opening): ModelClass {
  const mappings = library[autoClass].MODEL_CLASS_MAPPINGS as unknown as readonly Map<string, string>[];
  for (const mapping of mappings) {
    const name = mapping.get(modelType);
    if (name !== undefined) return library[name as keyof Library] as unknown as ModelClass;
  }
  throw new AppError('MODEL_INVALID', `Unsupported model type: ${modelType}`);
}
