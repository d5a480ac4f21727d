import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { test } from 'node:test';
import { USUAL_LOSS } from '../../../../shared/tasks/loss-options.ts';
import { TASKS, taskName } from '../../../../shared/tasks/tasks.ts';
import { ANSWERS } from './answers.ts';

/** What several tasks share. */
const SHARED_FOLDERS = ['forms', 'judging'];
const folders = readdirSync('shared/tasks', { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !SHARED_FOLDERS.includes(entry.name))
  .map(({ name }) => name);

test('each task has the folder of its name, with a schema and a judge, and a file for its runner', () => {
  assert.deepEqual(folders.toSorted(), taskName.options.toSorted());
  for (const folder of folders) {
    const files = readdirSync(`shared/tasks/${folder}`);
    for (const file of ['schema.ts', 'judge.ts']) assert.ok(files.includes(file), `${folder}/${file}`);
    assert.ok(existsSync(`shared/inference/tasks/${folder}.ts`), folder);
  }
});

test('the table names the tasks', () => {
  assert.deepEqual(taskName.options, Object.keys(TASKS));
  assert.equal(taskName.safeParse('teleportation').success, false);
});

test('an answer of each task is of its schema, agrees with itself, passes for its golden one, and is shown', () => {
  for (const task of taskName.options) {
    const { output, judge } = TASKS[task];
    const answer = output.parse(ANSWERS[task].example);
    assert.equal(judge.lossOf(answer, answer, USUAL_LOSS), 0, task);
    assert.equal(judge.differenceOf(answer, answer), undefined, task);
    assert.ok(Number.isFinite(judge.routeScoreOf(answer, () => 0.5)), task);
    assert.notEqual(judge.shown(answer), undefined, task);
    assert.equal(judge.shown({ of: 'another form' }), undefined, task);
  }
});
