import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRunner } from '../../../shared/inference/runner/runner-process.ts';
import type { Detection } from '../../../shared/tasks/object-detection/schema.ts';
import { TASKS } from '../../../shared/tasks/tasks.ts';
import { expectedOf, inputOf, referenceOptions } from './reference.ts';

/** Our decoder and resizer are not Pillow's to the last bit (docs/decisions/0006), and random weights magnify what differs. */
const SCORE_TOLERANCE = 0.02;
const BOX_TOLERANCE_PX = 0.5;

for (const name of ['detr', 'rt-detr', 'yolox', 'yolox-decoded', 'yolov5', 'yolov8', 'yolov10'])
  test(`${name} finds what its makers’ own steps find`, async (t) => {
    const runner = await startRunner(referenceOptions(name));
    try {
      let [largestPx, largestScore, count] = [0, 0, 0];
      for (const one of expectedOf(name)) {
        const { output, routeScore } = await runner.infer(inputOf(one));
        TASKS['object-detection'].output.parse(output);
        assert.ok(Number.isFinite(routeScore) && routeScore <= 0);
        const threshold = (one.parameters.threshold as number | undefined) ?? 0.5;
        const far = (all: Detection[]) =>
          all.filter(({ score }) => Math.abs(score - threshold) > SCORE_TOLERANCE);
        const left = [...(output as Detection[])];
        for (const expected of far(one.output as Detection[])) {
          const found = left.findIndex(
            ({ label, box }) => label === expected.label && distance(box, expected.box) <= BOX_TOLERANCE_PX,
          );
          assert.ok(found >= 0, `${one.file}: ${JSON.stringify(expected)} of ${JSON.stringify(output)}`);
          const [ours] = left.splice(found, 1) as [Detection];
          largestPx = Math.max(largestPx, distance(ours.box, expected.box));
          largestScore = Math.max(largestScore, Math.abs(ours.score - expected.score));
          count++;
        }
        assert.deepEqual(far(left), [], `${one.file}: more than the reference finds`);
      }
      assert.ok(count >= 3, 'too few to compare');
      assert.ok(largestScore <= SCORE_TOLERANCE, `a score differs by ${largestScore}`);
      t.diagnostic(
        `${count} boxes, largest differences ${largestPx.toFixed(3)} px, ${largestScore.toFixed(4)}`,
      );
    } finally {
      await runner.stop();
    }
  });

const distance = (one: Detection['box'], other: Detection['box']): number =>
  Math.max(
    Math.abs(one.xmin - other.xmin),
    Math.abs(one.ymin - other.ymin),
    Math.abs(one.xmax - other.xmax),
    Math.abs(one.ymax - other.ymax),
  );
