/** The words of `outrider rollout`. */
import type { Command } from 'commander';

/** What the commands of a hub have in common. */
interface Common {
  readonly asking: (command: Command) => Command;
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
export function addRolloutCommands(program: Command, { asking, late }: Common): void {
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
  asking(
    staged(
      rollout
        .command('simulate <model>')
        .description('say what a plan would cost, had the version been bad: on a fleet that does not exist'),
    )
      .option('--devices <n>', 'of the made-up fleet (default: those of which there is evidence, or 1,000)')
      .option('--rate <n>', 'answers a minute of each device (default: 10)')
      .option('--history <n>', 'answers of the version before that are known of each device')
      .option(
        '--disagreement <share>',
        'answers that the cloud gives otherwise now (default: as recorded, or 10%)',
      )
      .option('--escalated <share>', 'requests that are escalated now (default: as recorded, or 20%)')
      .option('--spread <share>', 'by how much devices differ in that (default: 3%)')
      .option('--drift <minute:share>', 'what all devices see becomes harder in the midst of it: 60:5%')
      .option('--agreement-drop <share>', 'a version that loses so much agreement with the cloud: 0.02 or 2%')
      .option('--error-rise <share>', 'a version that fails so many more inputs')
      .option('--slower <times>', 'a version that takes so many times as long')
      .option('--crash <share>', 'a version that crashes on so many devices')
      .option('--escalation-rise <share>', 'a version of which so many more requests are escalated')
      .option('--memory <times>', 'a version that takes so many times the memory')
      .option('--runs <n>', 'rollouts of each kind (default: 50)')
      .option('--seed <n>', 'the same seed gives the same chance (default: 1)'),
  ).action(late(async () => (await import('../commands/rollout-simulate.ts')).simulateRollouts));
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

/** Flags of a rollout's stages and gates. */
const staged = (command: Command): Command =>
  command
    .option('--stages <list>', 'devices or shares that each stage reaches in all (default: 1,10%,50%,100%)')
    .option('--min-time <time>', 'the least that a stage takes: 10m, 24h (default: 10m)')
    .option(
      '--min-answers <n>',
      'answers by the version before the next stage (default: 200; of the agent: none)',
    )
    .option(
      '--gate <gate...>',
      'GATE=LIMIT or GATE=off, of agreement (may fall by: 0.02), escalation (may rise by: 0.1), errors (0.02), latencyP95 (times: 1.5), crashes (share of devices: 0.05), memory (times: 1.5)',
    )
    .option('--confidence <share>', 'that no gate is wrong by chance (default: 0.95)');

/** Flags of a rollout's whole plan. */
export const planned = (command: Command): Command =>
  staged(
    command.option(
      '--to <selector>',
      'which devices, by labels and facts: site=north,agent>=0.2.0,platform=linux-arm64 (default: all that run the model)',
    ),
  )
    .option('--window <cron>', 'minutes in which devices may try it, in their own time zones: "* 1-4 * * *"')
    .option(
      '--on-failure <what>',
      'when a gate fails: roll-back (every device goes back), hold (nobody new until you decide) (default: roll-back)',
    );
