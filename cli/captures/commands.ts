/** The words of `outrider captures`. */
import type { Command } from 'commander';

/** What the commands of a hub have in common. */
interface Common {
  readonly asking: (command: Command) => Command;
  readonly late: <Args extends unknown[]>(
    load: () => Promise<(...args: Args) => void | Promise<void>>,
  ) => (...args: Args) => Promise<void>;
}

const EXPORT_HELP = `
Examples:
  outrider captures export gate-data --pipeline gate
  outrider captures export reviews --model sst2-lstm --split train=0.7,dev=0.1,test=0.2
  python -c "from datasets import load_dataset; print(load_dataset('imagefolder', data_dir='gate-data'))"

Pictures become an imagefolder of Hugging Face, anything else lines of JSON. What is nearly the same is never on both sides of a
split. An export that was broken off is gone on with by the same command.`;

const RM_HELP = `
Examples:
  outrider captures rm --device gate-01 --dry-run
  outrider captures rm --input photo-of-me.jpg
  outrider captures rm --pipeline reviews --before 2026-01-31

What is erased is gone from the hub’s disk at once; exports that were made before, and copies of the hub’s disk, still have it.`;

const TRAIN_HELP = `
The hub must have been started with --trainer (docs/circle.md). What comes of it is published as the model’s next version, and rolled out
in stages: the gates of the rollout say whether devices keep it.`;

/** Puts `captures` and its words there. */
export function addCaptureCommands(program: Command, { asking, late }: Common): void {
  const captures = program
    .command('captures')
    .description('inputs that devices share (share: inputs), with both answers: what edge models learn from');
  asking(filtered(captures.command('ls').description('list them, newest first')))
    .option('--limit <n>', 'at most so many', '50')
    .action(late(async () => (await import('../commands/captures.ts')).listCaptures));
  asking(captures.command('show <id>').description('show one with both answers'))
    .option('--out <file>', 'write its input to this file')
    .action(late(async () => (await import('../commands/captures.ts')).showCapture));
  asking(
    filtered(
      captures.command('export <folder>').description('write them out as a data set for training'),
    ).addHelpText('after', EXPORT_HELP),
  )
    .option('--format <format>', 'imagefolder or jsonl (default: by the task)')
    .option('--split <shares>', 'parts of the data set (default: train=0.8,test=0.2)')
    .action(late(async () => (await import('../commands/captures-export.ts')).exportCaptures));
  asking(captures.command('rm [id...]').description('erase captures').addHelpText('after', RM_HELP))
    .option('--device <id>', 'of this device')
    .option('--pipeline <name>', 'of this pipeline')
    .option('--model <name>', 'of this model, of a device or of the cloud')
    .option('--before <date>', 'older than this: 2026-01-31, or 30d')
    .option(
      '--input <file>',
      'of this input, and of such that are nearly the same: a picture, or a file with a text',
    )
    .option('--dry-run', 'say which, and erase nothing')
    .action(late(async () => (await import('../commands/captures.ts')).eraseCaptures));
  asking(
    captures
      .command('train [model]')
      .description(
        'have the hub train a better version of an edge model from captures; without a model: list trainings',
      )
      .addHelpText('after', TRAIN_HELP),
  )
    .option('--pipeline <name>', 'from this pipeline alone')
    .option('--since <date>', 'from what was captured since then: 2026-01-31, or 7d')
    .option('--min-captures <n>', 'the fewest that are worth it', '100')
    .option('--no-rollout', 'publish the version, and begin no rollout')
    .option('--note <text>', 'why, for people')
    .option('--wait <seconds>', 'follow it for so long; fails where it does not reach its end')
    .option('--show <id>', 'show one training, with the last words of its program')
    .option('--cancel <id>', 'end one')
    .action(late(async () => (await import('../commands/trainings.ts')).train));
}

/** Flags of which captures are meant. */
const filtered = (command: Command): Command =>
  command
    .option('--device <id>', 'of this device')
    .option('--pipeline <name>', 'of this pipeline')
    .option('--model <name>', 'of this model, of a device or of the cloud')
    .option('--why <reason>', 'why the cloud was asked: uncertain, audit, learning, …')
    .option('--disagree', 'only where the answers differ')
    .option('--agree', 'only where they do not')
    .option('--since <date>', 'not older than this: 2026-01-31, or 7d')
    .option('--until <date>', 'older than this');
