/**
 * The commands of `outrider`: what it can do, and errors as one sentence with their code. Exit code 0, 1 (failed), 2 (usage). Each
 * command's code is loaded when it is asked for: help and most commands take half the time so.
 */
import '../shared/runtime/schema-words.ts';
import { Command, CommanderError, Option } from 'commander';
import { DETECTOR_FAMILIES, VARIANTS } from '../shared/release/folder/choices.ts';
import { AppError, ERRORS, type ErrorCode, toAppError } from '../shared/runtime/errors.ts';
import { helpText, sentences, terminalColumns } from '../shared/runtime/help-text.ts';
import { nearest } from '../shared/runtime/near.ts';
import { forTerminal, jsonForTerminal } from '../shared/runtime/terminal.ts';
import { VERSION } from '../shared/runtime/version.ts';
import { addCaptureCommands } from './captures/commands.ts';
import type { DoctorOptions } from './commands/doctor.ts';
import type { DescribeOptions } from './import/stage-model.ts';
import { addRolloutCommands, planned } from './rollout/commands.ts';

const INFER_EXAMPLES = `
Examples:
  outrider infer cifar10-vit photo.jpg
  outrider infer sst2-minilm "A film that stays with you." --parameters '{"top_k": 1}'
  outrider infer zero-shot "The train is late." --parameters '{"candidate_labels": ["travel", "sports"]}'
  outrider infer clip photo.jpg --labels "a cat,a dog,an empty room"
  outrider infer reranker '{"query": "Who won?", "texts": ["It rained.", "Spain won."]}' --parameters '{"return_text": true}'
  outrider infer minilm '{"source_sentence": "a film", "sentences": ["a movie", "rain"]}'
  outrider infer segformer photo.jpg --save masks/
  outrider infer depth-anything photo.jpg --save depth/
  outrider infer sounds siren.wav --parameters '{"top_k": 3}'
  outrider infer squad-minilm article.txt --question "Who won?"
  outrider infer multi30k-en-de "Two dogs play." --parameters '{"generate_parameters": {"num_beams": 4}}'
  outrider infer whisper talk.wav --parameters '{"return_timestamps": true}'

The input is a file, or the text itself. Parameters are those of Hugging Face's task, see docs/protocol.md.`;

const PULL_HELP = `
<source> is
  hf:org/name             a model of the Hugging Face hub, or hf:org/name@revision; HF_TOKEN opens what is not everybody's
  ./folder                a folder in Hugging Face's layout, as transformers.js takes it
  ./model.onnx            a bare graph; say --task, and --labels and --family where it needs them

outrider models pull hf:Xenova/distilbert-base-uncased-finetuned-sst-2-english --variant q8
outrider models pull ./yolox_nano.onnx --task object-detection --family yolox --labels coco.txt`;

/** Columns in which each option has its line. */
const UNBROKEN = 10_000;

/** docs/cli.md is made from it. */
export const program = new Command('outrider')
  .description('Small models on devices, big models in the cloud, one answer.')
  .version(VERSION)
  .showHelpAfterError('(add --help for the options)')
  .exitOverride()
  // With --json what is wrong is said once, as JSON (`report`).
  .configureOutput({
    // Set for the terminal when it is written, by the same rules as the programs' own help.
    ...(terminalColumns() === undefined
      ? {}
      : { getOutHelpWidth: () => UNBROKEN, getErrHelpWidth: () => UNBROKEN }),
    writeOut: (text) => void process.stdout.write(helpText(text)),
    writeErr: (text) => void (isJson() || process.stderr.write(helpText(text))),
    outputError: (text, write) =>
      write(
        forTerminal(onlyNear(text).replace(/^error: (.*)/, (_all, what: string) => sentence('USAGE', what))),
      ),
  });

program
  .command('up')
  .description('run broker, hub and a demo device on this machine')
  .option('--once', 'go through the inputs once, print the totals and end')
  .option('--config <file>', 'pipelines of the demo device (default: the ones that ship with Outrider)')
  .option('--models <dir>', 'folder with model folders (default: the ones that ship with Outrider)')
  .addOption(port('--hub-port <port>', 'port of the hub', 8080))
  .addOption(port('--mqtt-port <port>', 'port of the broker', 1883))
  .addOption(port('--agent-port <port>', 'port of the agent', 8090))
  .option('--data <dir>', 'data folder', './data')
  .action(late(async () => (await import('./commands/up.ts')).up));

// These two are listed here; main.ts has started them already.
ownFlags(program, 'hub', 'run a hub: models in the cloud, and a broker unless --mqtt names one');
const agent = ownFlags(program, 'agent', 'run an agent on this device, or install it as a service');
agent
  .command('install [release]')
  .description(
    'install or upgrade the agent as a service of this machine, from an unpacked release or an archive',
  )
  .option('--hub <url>', 'the hub’s address, for a fresh configuration')
  .option(
    '--token <token>',
    'one-time token of outrider devices enroll (or OUTRIDER_ENROLL_TOKEN; - reads it from standard input)',
  )
  .option('--device <id>', 'this device’s id, for a fresh configuration (default: the host’s name)')
  .option(
    '--ca <file>',
    'PEM of the hub’s authority, for a fresh configuration (default: the one that the token pins, else the system’s)',
  )
  .option('--insecure-plain-text', 'of a fresh configuration: talk to the hub in plain text off loopback')
  .option(
    '--config <file>',
    'where the configuration is (default: where it was, else /etc/outrider/outrider.yaml)',
  )
  .option('--data <dir>', 'where the agent keeps its data (default: where it did, else /var/lib/outrider)')
  .option('--no-start', 'install it, and leave the start to you')
  .option('--no-systemd', 'install all but the service')
  .option(
    '--root <dir>',
    'install into this folder, the root of an image that is being made; nothing is started',
  )
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\nWithout [release] it is the release that this command is part of. Run again it changes only what is not right yet; a version that does not\ncome up gives way to the one before it.',
  )
  .action(late(async () => (await import('./commands/agent-service.ts')).installService));
agent
  .command('uninstall')
  .description('take the service away again; its configuration and data stay')
  .option('--purge', 'take configuration, data and user away as well')
  .option(
    '--config <file>',
    'where the configuration is (default: where it was, else /etc/outrider/outrider.yaml)',
  )
  .option('--data <dir>', 'where the agent keeps its data (default: where it did, else /var/lib/outrider)')
  .option('--root <dir>', 'of an image that is being made')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/agent-service.ts')).uninstallService));
agent
  .command('rollback')
  .description('go back to the version before, and to this one again by the same command')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/agent-service.ts')).rollbackService));
agent
  .command('apply-update', { hidden: true })
  .description('put an update from the hub into place: for outrider-update.service')
  .option('--data <dir>', 'where the agent keeps its data')
  .option('--after-boot', 'only take back what was not confirmed')
  .option('--root <dir>', 'of an image: nothing is started')
  .action(late(async () => (await import('./commands/agent-service.ts')).applyOffered));
askingAgent(
  agent.command('status').description('say how the service is: version, uptime, link, feeds, sinks'),
).action(late(async () => (await import('./commands/agent-service.ts')).serviceStatus));
agent
  .command('logs')
  .description('show the service’s lines in the system’s log')
  .option('-f, --follow', 'go on as they come')
  .option('-n, --lines <n>', 'at most so many', '100')
  .action(late(async () => (await import('./commands/agent-service.ts')).serviceLogs));
asking(
  program
    .command('infer <model> <input>')
    .description('ask the hub’s model about a file, a text, or what comes in by standard input (-)')
    .option('--parameters <json>', 'parameters of the model’s task, as a JSON object')
    .option('--question <text>', 'of question answering: the input is then the context')
    .option('--labels <a,b,…>', 'of zero-shot tasks: the labels to choose from')
    .option('--save <dir>', 'of segmentation and depth: folder for the masks, the depth, as PNG')
    .addHelpText('after', INFER_EXAMPLES),
).action(late(async () => (await import('./commands/infer.ts')).infer));
const models = program.command('models').description('models on the hub, and folders that are to go there');
asking(models.command('ls').description('list them')).action(
  late(async () => (await import('./commands/models.ts')).listModels),
);
describing(
  models.command('pull <source>').description('bring in a model of anybody’s: checked, tried and described'),
)
  .option('--into <dir>', 'folder of model folders', './models')
  .option('--force', 'replace another version that is there')
  .option('--mirror <url>', 'the hub to ask (or HF_ENDPOINT; default https://huggingface.co)')
  .option('--json', 'print JSON')
  .addHelpText('after', PULL_HELP)
  .action(late(async () => (await import('./commands/pull.ts')).pullModel));
describing(
  following(
    models
      .command('push <folder>')
      .description('publish a model folder, ours or anybody’s, as a new version, and show devices take it'),
  ),
)
  .option('--force', 'publish although it answers its golden inputs otherwise than recorded')
  .option(
    '--signing-key <file...>',
    'PEM of the key of targets, or of a delegation, for a hub that does not hold it; several where several have to sign',
  )
  .option('--signing-command <command>', 'sign with a token instead (see outrider keys sign --help)')
  .option('--public-key <file>', 'PEM of the key that the command signs with')
  .option(
    '--out <file>',
    'where the signed listing goes while signatures are missing (default: outrider-change.json)',
  )
  .action(late(async () => (await import('./commands/models.ts')).pushModel));
following(
  models
    .command('deploy <name> <version>')
    .description('tell devices to run a published version; an older one is a way back'),
).action(late(async () => (await import('./commands/models.ts')).deployModel));
asking(
  planned(
    models
      .command('set <name>')
      .description('say how the hub serves a model, and what it does with new versions of it')
      .option('--keep-loaded <on|off>', 'load it at the start, and never put it out to make room for another')
      .option('--max-queue <n>', 'requests that may wait for it; default: as many as for any model')
      .option(
        '--policy <policy>',
        'of new versions: auto (deployed at once), staged (rolled out, by the plan of the flags below), manual',
      ),
  ),
).action(late(async () => (await import('./commands/models.ts')).setModel));
asking(
  models
    .command('add <name>')
    .description('have a model run on another server: Triton, MLServer, vLLM, llama.cpp, another hub')
    .requiredOption('--engine <url>', 'the server’s address')
    .requiredOption(
      '--kind <kind>',
      'open-inference (Triton, KServe, MLServer, a hub) or openai (vLLM, SGLang, llama.cpp, Ollama)',
    )
    .option('--remote-name <name>', 'the model’s name there (default: the same)')
    .option('--remote-version <version>', 'its version there (default: the one that the server runs)')
    .option('--task <task>', 'what it does, where this hub has no folder of it')
    .option(
      '--folder <dir>',
      'publish this folder first: pre- and postprocessing are the hub’s, the graph alone runs there',
    )
    .option('--key-file <file>', 'a file with the key that the server wants')
    .option('--key-env <name>', 'the environment variable that has it')
    .option('--engine-ca <file>', 'PEM of the server’s authority (default: the system’s)')
    .option(
      '--timeout <seconds>',
      'for an answer, of a stream for its next piece (default: 120 of openai, else 30)',
    )
    .option('--fallback <model>', 'a model of this hub that answers where the server fails')
    .option('--batch <where>', 'here: the hub makes batches; there: the server does')
    .option('--insecure-plain-text', 'send the key in plain text off loopback'),
)
  .addHelpText(
    'after',
    `
Examples:
  outrider models add org/chat --engine http://127.0.0.1:8000 --kind openai --task text-generation
  outrider models add sst2-minilm --engine https://triton.lan:8000 --kind open-inference --folder models/sst2-minilm --engine-ca lan.pem
  outrider models add texts --engine https://hub-2.lan:8080 --kind open-inference --task text-classification --remote-name sst2-minilm --key-env HUB2_KEY`,
  )
  .action(late(async () => (await import('./commands/engines.ts')).addEngine));
signing(
  models
    .command('rm <name>')
    .description(
      'remove a version that nobody needs (NAME@VERSION), a model that no device uses, or a model’s server',
    ),
)
  .addHelpText(
    'after',
    `
  outrider models rm eyes@3     one version: refused while it is deployed, pinned, on a device, or the last good one
  outrider models rm eyes       all of it: refused while a device uses it
  outrider models rm org/chat   of a model that runs on another server: that is taken away, its folder stays
Devices that have a removed version keep it, and answer with it. --signing-key is for a hub that does not hold the key that lists it.`,
  )
  .action(late(async () => (await import('./commands/remove-model.ts')).removeModel));
models
  .command('calibrate <folder> <labelled>')
  .description('make the scores of a model folder mean what they say, by examples whose labels are known')
  .option('--dry-run', 'measure, and write nothing')
  .option('--force', 'write it even where the calibration error has not fallen')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    '\n<labelled> is a folder with one sub-folder a label, of pictures or .txt files, or a .jsonl file with one object a line:\n{"text": …, "label": …} or {"file": path from there, "label": …}. At least 50 examples; from 200 on half of them measure.',
  )
  .action(late(async () => (await import('./commands/calibrate.ts')).calibrateModel));
asking(
  program.command('sign-in').description('make a one-time address that signs a browser in to the hub’s page'),
).action(late(async () => (await import('./commands/fleet.ts')).signIn));
program
  .command('login')
  .description('keep a hub and a key for this user: commands talk to it when none is named')
  .option('--hub <url>', 'the hub’s address (or OUTRIDER_HUB)')
  .option(
    '--key <key>',
    'a key of the hub (or OUTRIDER_KEY; default: asked for, or a line on standard input)',
  )
  .option('--ca <file>', 'PEM of the hub’s authority (or OUTRIDER_CA; default: the system’s)')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/login.ts')).login));
program
  .command('logout')
  .description('forget them')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/login.ts')).logout));
const devices = program.command('devices').description('devices of the hub');
asking(devices.command('ls').description('list them')).action(
  late(async () => (await import('./commands/fleet.ts')).listDevices),
);
asking(devices.command('enroll [id]').description('make a one-time token for a device'))
  .option('--label <label...>', 'label of the device, site=north; by labels rollouts choose')
  .option('--to <dir>', 'put it into this data folder of an agent, unless the device is enrolled already')
  .action(late(async () => (await import('./commands/fleet.ts')).enrollDevice));
asking(devices.command('revoke <id>').alias('rm').description('cut a device off, at once and for good'))
  .option('--captures', 'erase what the hub has captured of it, too')
  .action(late(async () => (await import('./commands/fleet.ts')).revokeDevice));
asking(
  devices.command('pin <id> <model> <version>').description('have one device run a version of its own'),
).action(late(async () => (await import('./commands/fleet.ts')).pinDevice));
asking(devices.command('unpin <id> <model>').description('have it run what the model deploys again')).action(
  late(async () => (await import('./commands/fleet.ts')).unpinDevice),
);
asking(
  devices
    .command('label <id> [labels...]')
    .description('give a device labels, by which rollouts choose: site=north, or site- to take one away'),
).action(late(async () => (await import('./commands/labels.ts')).labelDevice));
addRolloutCommands(program, { asking, late });
addCaptureCommands(program, { asking, late });
const keys = program
  .command('keys')
  .description('keys for the hub’s HTTP API (ls, create, revoke), and those that sign updates (the others)');
asking(keys.command('ls').description('list them')).action(
  late(async () => (await import('./commands/fleet.ts')).listKeys),
);
asking(
  keys
    .command('create <name>')
    .description('make one; it is shown once')
    .requiredOption('--scope <scope...>', 'admin, infer, metrics'),
).action(late(async () => (await import('./commands/fleet.ts')).createKey));
asking(keys.command('revoke <id>').description('revoke one')).action(
  late(async () => (await import('./commands/fleet.ts')).revokeKey),
);
asking(
  keys
    .command('status')
    .description('say who signs updates with which keys, until when it is good, and what is to be done'),
).action(late(async () => (await import('./commands/signing-changes.ts')).signingKeys));
signing(
  keys
    .command('init')
    .description(
      'take the keys of root and targets off the hub: several for the root, of which some have to sign',
    )
    .option('--root-keys <n>', 'make so many keys of root', '3')
    .option('--threshold <n>', 'so many of them have to sign', '2')
    .option('--root-key <file...>', 'take these instead: PEM, public halves of keys on tokens, or private')
    .option(
      '--targets-keys <n>',
      'make so many keys of targets; 0: the hub goes on to list versions by itself',
      '1',
    )
    .option('--targets-threshold <n>', 'so many of them have to sign', '1')
    .option('--targets-key <file...>', 'take these instead')
    .option(
      '--to <dir>',
      'where keys that are made go, in files that nobody else can read',
      './outrider-keys',
    ),
).action(late(async () => (await import('./commands/keys.ts')).initKeys));
signing(
  keys
    .command('rotate <role>')
    .description(
      'other keys for root, targets, snapshot, timestamp or a delegation; the hub makes those that it holds',
    )
    .option('--make <n>', 'make so many new ones')
    .option('--add <file...>', 'take these: PEM, public or private')
    .option('--remove <id...>', 'only these go, by the beginning of their ids; else all that were there')
    .option('--keep', 'none of those that were there goes')
    .option('--threshold <n>', 'so many of them have to sign (default: as before)')
    .option(
      '--compromised',
      'somebody has the old key: the hub’s own keys of snapshot and timestamp go with it',
    )
    .option('--to <dir>', 'where keys that are made go', './outrider-keys'),
).action(late(async () => (await import('./commands/keys.ts')).rotateKeys));
signing(
  keys
    .command('renew <role>')
    .description('sign root, targets or a delegation again before its signature ends, with the same keys'),
).action(late(async () => (await import('./commands/keys.ts')).renewRole));
signing(
  keys
    .command('delegate <name>')
    .description('let somebody publish the models of some names with a key of their own')
    .requiredOption('--models <pattern...>', 'names of models: eyes, acme/eyes, acme/*')
    .requiredOption('--publisher-key <file...>', 'PEM of their public keys')
    .option('--threshold <n>', 'so many of them have to sign', '1'),
).action(late(async () => (await import('./commands/keys.ts')).delegateModels));
signing(
  keys.command('undelegate <name>').description('take that away again, and what was listed that way'),
).action(late(async () => (await import('./commands/keys.ts')).undelegateModels));
signingWith(
  keys
    .command('sign <change>')
    .description('sign a change that others have made; needs no hub, and says first what changes'),
)
  .option('--out <file>', 'where the signed change goes (default: in its place)')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/signing-changes.ts')).signChangeFile));
asking(
  keys
    .command('import <change...>')
    .description('bring a change to the hub once enough have signed it; copies of one are put together'),
).action(late(async () => (await import('./commands/signing-changes.ts')).importChange));
const cameras = program.command('cameras').description('cameras of the network, and what one of them has');
cameras
  .command('find')
  .description('call for ONVIF cameras in the local network')
  .option('--timeout <seconds>', 'how long to wait for answers', '5')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/cameras.ts')).findThem));
cameras
  .command('probe <address>')
  .description('a camera’s streams with their size, rate, codec and cost, and the lines for outrider.yaml')
  .option('--user <name>', 'of the camera; its password comes from CAM_PASSWORD')
  .option('--json', 'print JSON')
  .addHelpText(
    'after',
    `
<address> is
  HOST or HOST:PORT       a camera that speaks ONVIF, which is asked for its streams
  onvif://HOST            the same
  rtsp://HOST/stream      one stream; http, https, a device or a file, too
Credentials stand in it, or better in --user and the variable CAM_PASSWORD: a command line can be read by every user.`,
  )
  .action(late(async () => (await import('./commands/cameras.ts')).probeCamera));
const outbox = program.command('outbox').description('what an agent owes, and what it has given up');
askingAgent(outbox.command('ls').description('list it, oldest first'))
  .option('--dead', 'only what was given up')
  .option('--limit <n>', 'at most so many', '100')
  .action(late(async () => (await import('./commands/outbox.ts')).listOutbox));
askingAgent(outbox.command('sent').description('what has left the device: when, what, to whom, and why'))
  .option('--since <when>', 'not older than this: 1h, 2d, or a time such as 2026-01-31T12:00')
  .option('--limit <n>', 'the last ones, at most so many', '100')
  .option('--follow', 'go on with what leaves from now on')
  .action(late(async () => (await import('./commands/sent.ts')).listSent));
askingAgent(outbox.command('show <id>').description('show one request'))
  .option('--out <file>', 'write its input to this file')
  .action(late(async () => (await import('./commands/outbox.ts')).showOutbox));
askingAgent(outbox.command('retry <id>').description('send it now, or ask again what was given up')).action(
  late(async () => (await import('./commands/outbox.ts')).retryOutbox),
);
askingAgent(outbox.command('drop <id>').description('give it up without an answer')).action(
  late(async () => (await import('./commands/outbox.ts')).dropOutbox),
);
const route = program.command('route').description('which requests are escalated, and what is promised');
asking(route.command('ls').description('what devices promise, and how they stand by it')).action(
  late(async () => (await import('./commands/routes.ts')).listRoutes),
);
ownFlags(
  route,
  'simulate',
  'replay recorded requests: what would be escalated, and what agreement is kept',
).action(async () => (await import('./simulate/route-simulate.ts')).simulateRoute(process.argv.slice(4)));
describing(
  askingAgent(
    program
      .command('doctor [model]')
      .description(
        'look at this machine, its models, the agent and the hub, and say what is wrong; or at one model: what it is and does here',
      )
      .option('--hub <url>', 'the hub’s address (or OUTRIDER_HUB)')
      .option('--key <key>', 'a key of the hub (or OUTRIDER_KEY)')
      .option('--ca <file>', 'PEM of the hub’s authority (or OUTRIDER_CA)')
      .option('--data <dir>', 'data folder to look at (default: ./data, else that of the last outrider up)')
      .option('--models <dir>', 'folder with model folders (default: the ones that ship with Outrider)'),
  ),
)
  .addHelpText(
    'after',
    '\n[model] is a name, a folder, an .onnx file or hf:org/name; --name and what follows describe one of somebody else’s.',
  )
  .action(async (model: string | undefined, options: DoctorOptions & DescribeOptions) => {
    const { doctor, SHIPPED_MODELS } = await import('./commands/doctor.ts');
    if (model === undefined) {
      const { selfTest } = await import('../shared/inference/proof/self-test.ts');
      return doctor(options, selfTest);
    }
    const { doctorModel } = await import('./commands/doctor-model.ts');
    return doctorModel(model, { ...options, models: options.models ?? SHIPPED_MODELS });
  });

const gpu = program.command('gpu').description('GPUs of this machine, and what models need to run on them');
withData(
  gpu.command('status', { isDefault: true }).description('what is here, and whether a model runs on it'),
).action(late(async () => (await import('./commands/gpu.ts')).gpuStatus));
withData(
  gpu
    .command('install')
    .description(
      'put ONNX Runtime’s CUDA libraries of exactly this version into the data folder; size and licences are said before',
    )
    .option(
      '--from <dir>',
      'folder with the wheels, for a machine without a network (their names: docs/gpu.md)',
    )
    .option(
      '--index <url>',
      'Python package index to fetch them from (or PIP_INDEX_URL; default: https://pypi.org/simple)',
    )
    .option('--yes', 'agree without being asked')
    .option('--force', 'also where there is no NVIDIA driver, for an image'),
).action(late(async () => (await import('./commands/gpu.ts')).gpuInstall));
withData(gpu.command('remove').description('take them away again')).action(
  late(async () => (await import('./commands/gpu.ts')).gpuRemove),
);

program
  .command('release')
  .description(
    'make one archive of this checkout for devices: built programs, one platform’s native code, models',
  )
  .option('--platform <name>', 'linux-x64 or linux-arm64 (default: this machine’s)')
  .option('--models <names>', 'models that ship, with commas (default: cifar10-cnn,sst2-lstm)')
  .option('--with-node', 'put Node in, for devices that have none')
  .option('--out <dir>', 'where the archive goes (default: this folder)')
  .option('--json', 'print JSON')
  .action(late(async () => (await import('./commands/release.ts')).release));

const releases = program
  .command('releases')
  .description('releases of the agent itself on the hub: what devices are updated to');
asking(releases.command('ls').description('list them, newest first')).action(
  late(async () => (await import('./commands/agent-releases.ts')).listReleases),
);
signing(
  releases
    .command('push <archive...>')
    .description('bring archives of outrider release to the hub, one for each platform, and have them signed')
    .option(
      '--one-way',
      'devices take it by themselves although the version before cannot read the data that it writes',
    ),
).action(late(async () => (await import('./commands/agent-releases.ts')).pushReleases));
asking(
  releases
    .command('deploy <version>')
    .description(
      'have every device run this version at once, unless it is pinned; none: devices keep what they have',
    ),
).action(late(async () => (await import('./commands/agent-releases.ts')).deployRelease));
asking(
  planned(
    releases
      .command('set')
      .description('say what becomes of a release that is newer than the one deployed')
      .option('--policy <policy>', 'staged (rolled out by itself, by the plan of the flags below), manual'),
  ),
).action(late(async () => (await import('./commands/agent-releases.ts')).setReleases));
signing(
  releases
    .command('allow-back <version>')
    .description(
      'sign that devices may go back to an older version; a hub that holds the key says so itself',
    ),
).action(late(async () => (await import('./commands/agent-releases.ts')).allowBack));
signing(
  releases
    .command('rm <version>')
    .description('remove a version that nobody needs; devices that run it keep it'),
).action(late(async () => (await import('./commands/agent-releases.ts')).removeRelease));

/** The library that completes brings its own command of this name, and is loaded when that is asked for. */
const isCompleting = process.argv[2] === 'complete';
if (!isCompleting)
  program
    .command('complete [shell]')
    .description('print what makes a shell complete commands: bash, zsh, fish or powershell')
    .addHelpText(
      'after',
      '\n  source <(outrider complete bash)      in ~/.bashrc, where outrider is on the PATH; zsh alike\n  outrider complete fish | source       in ~/.config/fish/config.fish',
    );

/** Runs the command that the arguments of this process name. */
export async function runCommand(): Promise<void> {
  process.stdout.on('error', onOutputLost);
  // Nobody is left to be told.
  process.stderr.on('error', () => undefined);
  try {
    if (isCompleting) (await import('./completion.ts')).addCompletion(program);
    await program.parseAsync();
  } catch (error) {
    process.exitCode = report(error);
  }
}

/** `| head -1` has read what it wanted: the command ends as it would have. Anything else, a full disk, is a failure. */
function onOutputLost(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return;
  const { code, message } = toAppError(error);
  sayError(code, `what was to be printed is lost: ${message}`);
  process.exit(1);
}

/** An action whose code is loaded when it is asked for. */
function late<Args extends unknown[]>(
  load: () => Promise<(...args: Args) => void | Promise<void>>,
): (...args: Args) => Promise<void> {
  return async (...args) => (await load())(...args);
}

/** A program that reads its own flags. */
function ownFlags(parent: Command, name: string, description: string): Command {
  const words = parent === program ? name : `${parent.name()} ${name}`;
  return parent
    .command(name)
    .description(`${description} (see outrider ${words} --help)`)
    .allowUnknownOption()
    .allowExcessArguments()
    .helpOption(false);
}

/** Options of commands that talk to a hub. */
function asking(command: Command): Command {
  return command
    .option('--hub <url>', 'the hub’s address (or OUTRIDER_HUB)')
    .option('--key <key>', 'a key of the hub (or OUTRIDER_KEY)')
    .option(
      '--ca <file>',
      'PEM of the hub’s authority (or OUTRIDER_CA; default: a local hub’s own, and the system’s)',
    )
    .option(
      '--data <dir>',
      'data folder in which a local hub left its key (default: the hub of outrider login, else ./data, else that of the last outrider up)',
    )
    .option('--json', 'print JSON');
}

/** What may be said of a model that somebody else has exported. */
function describing(command: Command): Command {
  return command
    .option('--name <name>', 'its name here, instead of its own')
    .option('--task <task>', 'what it is for, where its files don’t tell')
    .option(
      '--labels <file>',
      'its labels, in the order of the graph’s outputs: one a line, or JSON (a list, {index: name}, {name: index})',
    )
    .option('--family <family>', `how a detector writes its boxes: ${DETECTOR_FAMILIES.join(', ')}`)
    .option('--output <name>', 'which of the graph’s outputs holds the answers, where several could')
    .option(
      '--variant <dtype>',
      `which of its ONNX files: ${VARIANTS.join(', ')} (default: the first that is there)`,
    )
    .option(
      '--example <file>',
      'an input that it takes: .json, .npy, .safetensors, a picture, a sound, a text',
    )
    .option('--max-size <size>', 'refuse more than this', '2GB');
}

/** Options that name who signs. */
function signingWith(command: Command): Command {
  return command
    .option('--signing-key <file...>', 'PEM of private keys to sign with')
    .option(
      '--signing-command <command>',
      'sign with a token instead: gets the bytes on standard input, gives the signature on standard output',
    )
    .option('--public-key <file>', 'PEM of the key that the command signs with');
}

/** … for a change of keys, which goes to the hub, or to a file until enough have signed. */
function signing(command: Command): Command {
  return signingWith(asking(command)).option(
    '--out <file>',
    'where the change goes while signatures are missing (default: outrider-change.json)',
  );
}

/** … and then watch what devices make of it. */
function following(command: Command): Command {
  return asking(command)
    .option('--wait <seconds>', 'watch devices take it for so long', '180')
    .option('--no-wait', 'do not watch devices take it');
}

/** Options of commands that talk to an agent. */
function withData(command: Command): Command {
  return command
    .option('--data <dir>', 'data folder of the hub (default: ./data, else that of the last outrider up)')
    .option('--json', 'print JSON');
}

function askingAgent(command: Command): Command {
  return command
    .option(
      '--agent <url>',
      'the agent’s address (or OUTRIDER_AGENT; default: the device of outrider up, else http://127.0.0.1:8090)',
    )
    .option('--agent-key <key>', 'its key, off loopback (or OUTRIDER_AGENT_KEY)')
    .option(
      '--agent-ca <file>',
      'PEM of who vouches for its certificate (or OUTRIDER_AGENT_CA; default: the system’s)',
    )
    .option('--json', 'print JSON');
}

function port(flags: string, description: string, standard: number): Option {
  return new Option(flags, description).default(standard).argParser((text) => {
    if (/^\d{1,5}$/.test(text) && Number(text) <= 65_535) return Number(text);
    throw new AppError('USAGE', `${flags.split(' ')[0]} must be a whole number from 0 to 65535`);
  });
}

/** Commander offers names that are far, too: `revoke` to who wrote `remove`. */
function onlyNear(text: string): string {
  const word = /unknown (?:command|option) '([^']*)'/.exec(text)?.[1];
  return text.replace(/\n?\(Did you mean (?:one of )?(.+)\?\)/, (_all, names: string) => {
    const near = word === undefined ? undefined : nearest(word, names.split(', '));
    return near === undefined ? '' : `\n(Did you mean ${near}?)`;
  });
}

/** Whether the command is to be read by a program. */
const isJson = (): boolean => process.argv.includes('--json');

function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0;
    if (isJson()) sayError('USAGE', onlyNear(error.message).replace(/^error: /, ''));
    // Otherwise commander has said it.
    return 2;
  }
  const known = toAppError(error);
  // Paths of this machine are for its own user; only the words of our own mistakes stay inside.
  sayError(known.code, known.code === 'INVARIANT_BROKEN' ? ERRORS.INVARIANT_BROKEN.meaning : known.message);
  if (process.env.OUTRIDER_DEBUG)
    process.stderr.write(
      `${known.stack}\n${known.cause instanceof Error ? known.cause.stack : known.cause}\n`,
    );
  return known.code === 'USAGE' ? 2 : 1;
}

const sentence = (code: ErrorCode, message: string): string => `outrider: ${message} (${code})`;

/** One sentence with its code, and what to do where the sentence does not say it; with `--json` as an object. */
function sayError(code: ErrorCode, message: string): void {
  const { meaning, remedy } = ERRORS[code];
  const text = `${sentence(code, message)}${message === meaning ? `\n${remedy}` : ''}`;
  const json = (): string => jsonForTerminal({ error: { code, message, remedy } });
  const people = (): string => sentences(forTerminal(text), terminalColumns(process.stderr));
  process.stderr.write(`${isJson() ? json() : people()}\n`);
}
