/** What a graph takes and gives, as `outrider.json` and the import of foreign models write it down. */
import { z } from 'zod';

/** An input or output of a graph, as ONNX Runtime names its type (`float32`, `int64`, `string` …); null is a dynamic axis. */
export const tensorSpec = z.strictObject({
  name: z.string().min(1),
  type: z.string(),
  dims: z.array(z.int().min(0).nullable()),
});
export type TensorSpec = z.infer<typeof tensorSpec>;
