/** The words of `outrider rollout`. */
import type { Command } from 'commander';

/** What the commands of a hub have in common. */
interface Common {
  readonly asking: (command: Command) => Command;
  readonly planned: (command: Command) => Command;
  readonly late: <Args extends unknown[]>(
    load: () => Promise<(...args: Args) => void | Promise<void>>,
  ) => (...args: Args) => Promise<void>;
}

const EXAMPLES = `
Examples:
  outrider rollout start cifar10-cnn@3
  outrider rollout start cifar10-cnn@3 --to site=north --stages 1,10%,100% --min-time 1h
  outrider rollout start cifar10-cnn@3 --gate agreement=0.01 --gate memory=off --on-failure hold --wait 600
  outrider rollout show cifar10-cnn

A stage is passed when it has run long enough and every gate has shown, by what devices have counted, that the version is no worse
than its limit allows. docs/updates.md says how to read the gates.`;

/** Puts `rollout` and its words there. */
export function addRolloutCommands(program: Command, { asking, planned, late }: Common): void {
  const rollout = program
    .command('rollout')
    .description('bring a version to the fleet in stages, as far as the devices’ own figures allow');
  asking(
    planned(rollout.command('start <model@version>').description('begin one')).addHelpText('after', EXAMPLES),
  )
    .option(
      '--if-busy <what>',
      'while another of the model is under way: refuse, wait for its end, replace it (default: refuse)',
    )
    .option('--note <text>', 'why, for people')
    .option('--wait <seconds>', 'follow it for so long; fails where it does not reach its end')
    .action(late(async () => (await import('../commands/rollouts.ts')).startRollout));
  asking(rollout.command('ls').description('list them, newest first')).action(
    late(async () => (await import('../commands/rollouts.ts')).listRollouts),
  );
  asking(
    rollout.command('show <rollout>').description('show its gates, devices and history, by id or model'),
  ).action(late(async () => (await import('../commands/rollouts.ts')).showRollout));
  asking(
    rollout
      .command('change <rollout>')
      .description('change gates or window of one that is under way')
      .option('--gate <gate...>', 'GATE=LIMIT or GATE=off; gates that are not named stay as they are')
      .option('--confidence <share>', 'that no gate is wrong by chance')
      .option('--window <cron>', 'minutes in which devices may try it; any: at any time')
      .option('--on-failure <what>', 'roll-back or hold'),
  ).action(late(async () => (await import('../commands/rollouts.ts')).changeRollout));
  const orders = [
    ['pause', 'pause', 'nobody new gets it until it is resumed'],
    ['resume', 'resume', 'go on, under the gates as they are now'],
    ['abort', 'abort', 'end it: devices keep what they have'],
    [
      'rollback',
      'roll-back',
      'end it, also one that is done: every device goes back to what was deployed before',
    ],
  ] as const;
  for (const [word, action, what] of orders)
    asking(rollout.command(`${word} <rollout>`).description(what)).action(
      late(async () => (await import('../commands/rollouts.ts')).orderRollout(action)),
    );
}
