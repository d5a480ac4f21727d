/** What ONNX Runtime says, for people who do not have its sources. */

/** Which axis of an input is of another length, a line each. */
const AXIS = /^\s*index: \d+ Got: -?\d+ Expected: -?\d+/;

/** Where in its own sources ONNX Runtime was, before the signature of the function. */
const PLACE = /\/\S+\.(?:cc|cpp|cuh?|h|hpp):\d+ /;

/** Message of ONNX Runtime, without the graph that follows and without its sources, but with the axes that do not fit. */
export function firstLine(error: unknown): string {
  const [first = '', ...more] = (error instanceof Error ? error.message : String(error)).split('\n');
  const axes = more.filter((line) => AXIS.test(line)).map((line) => line.trim());
  return [withoutPlaces(first.replace(LOADING, '')), ...axes].join('; ');
}

/** Words of ONNX Runtime's CUDA and WebGPU parts, and of the drivers below them. */
const PROVIDER_WORDS =
  /\bCUDA (failure|error)|\bcuda[A-Z]\w+|\bCU(DNN|BLAS|DA|RAND)_\w+|\bCU(DNN|BLAS) failure|\bdevice (was |is )?(lost|removed)|DeviceLost|VK_ERROR|out of memory|Failed to allocate memory/i;

/** Whether a run failed because of what runs graphs (a GPU that has gone or is full), not of the graph or its inputs. */
export function isProvidersFault(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) if (PROVIDER_WORDS.test(at.message)) return true;
  return false;
}

/** Said already by who tells it. */
const LOADING = /^Load model from \S+ failed: ?/;

/** Without each `/…/model.cc:202 onnxruntime::Model::Model(onnx::ModelProto&&, …) `. */
function withoutPlaces(text: string): string {
  const place = PLACE.exec(text);
  if (!place) return text;
  const before = text.slice(0, place.index);
  const signature = text.slice(place.index + place[0].length);
  let depth = 0;
  for (let at = signature.indexOf('('); at >= 0 && at < signature.length; at += 1) {
    if (signature[at] === '(') depth += 1;
    if (signature[at] === ')') depth -= 1;
    // `::` of what is in it, `>` of a lambda's place, `(` of an operator: the signature goes on.
    if (signature[at] !== ')' || depth > 0 || !/^( |$)/.test(signature.slice(at + 1))) continue;
    const after = signature
      .slice(at + 1)
      .replace(/^ const(?= )/, '')
      .replace(/^ \[with [^\]]*\]/, '');
    return before + withoutPlaces(after.trimStart());
  }
  return before + withoutPlaces(signature);
}
