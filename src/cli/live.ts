// `migscope live`: the same analysis while the capture runs, watched on a screen, with the report at the end.
import { type Command, InvalidArgumentError, Option } from 'commander';
import { Analysis, type Snapshot } from '../analyze.js';
import { AnomalyLog } from '../anomaly.js';
import { interfaceExists, isUp } from '../capture/live/interfaces.js';
import { Recording, type Rotation, recordingPath } from '../capture/live/recording.js';
import { ENGINE_NAMES, type EngineName, type LiveSource, openLive } from '../capture/live.js';
import { nothingCaptured } from '../errors.js';
import { duration } from '../report/format.js';
import { deliver, toReport } from './deliver.js';
import { addHelp } from './help.js';
import { type CliIo, printError } from './io.js';
import { migrationFilter } from './live-filter.js';
import { type CaptureState, LiveMeter } from './live-view.js';
import {
  type AnalysisOptions,
  addAnalysisOptions,
  addOutputOptions,
  type OutputOptions,
  parseCount,
} from './options.js';
import { checkOutputs } from './output.js';
import { Screen } from './screen.js';

interface Options extends OutputOptions, AnalysisOptions {
  readonly interface: string;
  readonly filter?: string;
  readonly snaplen?: number;
  readonly write?: string;
  readonly rotate?: Rotation;
  readonly duration?: number;
  readonly untilDone?: boolean;
  readonly narrow?: boolean;
  /** ms */
  readonly interval: number;
  readonly engine: EngineName | 'auto';
  /** ms */
  readonly downtimeLimit: number;
}

/** How long an ended migration must be quiet: the destination loads its devices before it says goodbye. */
const QUIET_AFTER_END_MS = 3000;
/** A migration without any data for so long is over for --until-done, whatever became of it. */
const SILENCE_MS = 15_000;
const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/** Beyond the second that an engine may hold a frame, and one between two ticks. */
const BEHIND_MS = 3000;
/** Frames in a tick below which nothing can pile up. */
const BUSY_FRAMES = 100;
const NO_ROTATION: Rotation = { bytes: null, ns: null };

const EXAMPLES = `
Engines: tcpdump and dumpcap stamp frames in the kernel and count what they lose; cap (a library) needs neither but knows
no losses and stamps on arrival. auto takes the first that works. The right to capture, without being root:
  sudo setcap cap_net_raw,cap_net_admin=eip "$(command -v tcpdump)"

The first Ctrl-C (or SIGTERM) ends the capture and writes the report; the second ends at once.

Examples:
  migscope live -i eth0 --until-done --html report.html
  migscope live -i eth0 --filter "tcp port 49152" --write migration.pcap.gz
  migscope live -i eth0 --until-done --narrow               where other traffic is what makes frames get lost
  migscope live -i any --duration 5m --write ring.pcap --rotate 1GB --json result.json
  migscope live -i eth0 --snaplen 128                       on links where whole frames would be lost`;

export function registerLive(program: Command, io: CliIo): void {
  const command = program
    .command('live')
    .summary('capture and analyse while a migration runs')
    .description('Captures on an interface, shows once a second how the migration does, and ends with the report.')
    .requiredOption('-i, --interface <name>', 'interface to capture on; any for all (see migscope interfaces)')
    .option('--filter <bpf>', 'capture only what matches, e.g. "tcp port 49152" (man pcap-filter)')
    .option('--narrow', 'once a migration is found, capture only that and what explains it')
    .option('--snaplen <bytes>', 'keep only the first bytes of each frame; rounds become estimates', parseSnapLength)
    .option('--write <file>', 'keep what is captured as FILE.pcap or FILE.pcap.gz')
    .option(
      '--rotate <limit>',
      'begin a new numbered file after a size before packing (1GB) or a time (10m)',
      parseRotation,
    )
    .option('--duration <time>', 'end after this time, e.g. 90s, 10m', parseTime)
    .option('--until-done', 'end with the migration: 3 s after its end mark, or after 15 s of silence')
    .addOption(new Option('--interval <time>', 'time between two updates').argParser(parseTime).default(1000, '1s'))
    .addOption(
      new Option('--downtime-limit <time>', 'what the source was told; for the forecast only')
        .argParser(parseTime)
        .default(300, '300ms'),
    )
    .addOption(new Option('--engine <name>', 'what captures').choices(['auto', ...ENGINE_NAMES]).default('auto'));
  addHelp(addAnalysisOptions(addOutputOptions(command)), EXAMPLES);
  command.action((options: Options) => live(options, io));
}

async function live(options: Options, io: CliIo): Promise<void> {
  const rotation = options.rotate ?? NO_ROTATION;
  const firstFile = options.write === undefined ? undefined : recordingPath(options.write, rotation, 1);
  checkOutputs(options, [], firstFile === undefined ? [] : [firstFile]);
  const log = new AnomalyLog();
  const { interface: device, filter = null, snaplen: snapLength = null } = options;
  const source = await openLive({ interface: device, filter, snapLength }, options.engine, log);
  const recording = options.write === undefined ? null : new Recording(options.write, rotation, source.info);
  const analysis = new Analysis(log, options);

  const session = new Session(source, recording, analysis, options, io);
  const interrupt = (): void => session.interrupt();
  for (const signal of END_SIGNALS) process.on(signal, interrupt);
  try {
    await session.run();
    const results = analysis.finish(source.info);
    for (const failure of [source.failure, recording?.failure]) {
      if (!failure) continue;
      printError(io, failure);
      io.exitCode = 1;
    }
    if (results.frames === 0) throw nothingCaptured(device);
    const report = toReport(results, options);
    await deliver(report, options, io);
    if (options.strict && report.anomalies.some((anomaly) => anomaly.severity !== 'note')) io.exitCode = 3;
  } finally {
    for (const signal of END_SIGNALS) process.off(signal, interrupt);
  }
}

/** One capture from the first frame to the last: reads, shows, records, and knows when to end. */
class Session {
  readonly #source: LiveSource;
  readonly #recording: Recording | null;
  readonly #analysis: Analysis;
  readonly #options: Options;
  readonly #io: CliIo;
  readonly #screen: Screen | null;
  readonly #meter: LiveMeter;
  readonly #watch: EndWatch;
  #ending = false;
  #interrupted = false;
  #lastFrames = 0;

  constructor(source: LiveSource, recording: Recording | null, analysis: Analysis, options: Options, io: CliIo) {
    this.#source = source;
    this.#recording = recording;
    this.#analysis = analysis;
    this.#options = options;
    // Status goes where a reader looks for it, unless a result is going there.
    const stream = options.json === '-' || options.html === '-' ? io.stderr : io.stdout;
    this.#screen = options.quiet ? null : new Screen(stream, io.env);
    this.#io = io;
    this.#meter = new LiveMeter(performance.now(), options.downtimeLimit * 1e6);
    this.#watch = new EndWatch();
  }

  async run(): Promise<void> {
    const { interface: device, duration: limit, interval, quiet } = this.#options;
    const { engine } = this.#source;
    if (!quiet) this.#io.stderr.write(`migscope: capturing on ${device} with ${engine.name}: ${engine.accuracy}\n`);
    const tick = setInterval(() => this.#tick(), interval);
    const deadline = limit === undefined ? null : setTimeout(() => this.#end(), limit);
    this.#source.count();
    try {
      for await (const batch of this.#source.batches()) {
        this.#analysis.push(batch);
        if (this.#recording) await this.#recording.write(batch);
      }
    } finally {
      clearInterval(tick);
      if (deadline) clearTimeout(deadline);
      this.#source.close();
      await this.#recording?.close();
      this.#tick();
      this.#screen?.end();
    }
  }

  #tick(): void {
    const snapshot = this.#analysis.snapshot();
    const nowMs = performance.now();
    this.#screen?.show(this.#meter.view(snapshot, this.#captureState(snapshot), nowMs));
    this.#lastFrames = snapshot.frames;
    this.#source.count();
    if (this.#options.narrow && !this.#ending) this.#narrow(snapshot);
    void this.#recording?.flush();
    if (this.#options.untilDone && this.#watch.isOver(snapshot, nowMs)) this.#end();
  }

  #narrow(snapshot: Snapshot): void {
    if (this.#source.narrowing !== null || snapshot.migration?.outcome !== null) return;
    const filter = migrationFilter(snapshot, this.#source.info.inputs[0]?.linkTypes[0] === 'ethernet');
    if (filter !== null) this.#source.narrow(filter);
  }

  #end(): void {
    this.#ending = true;
    this.#source.stop();
  }

  /** The first signal ends in order; the second at once, with the terminal given back and what was flushed kept. */
  interrupt(): void {
    if (!this.#interrupted) {
      this.#interrupted = true;
      this.#end();
      return;
    }
    this.#screen?.end();
    this.#source.close();
    process.exit(130);
  }

  #captureState(snapshot: Snapshot): CaptureState {
    const { interface: name, snaplen: snapLength = null } = this.#options;
    const { engine, lost, narrowing } = this.#source;
    const alerts: string[] = [];
    if (!interfaceExists(name)) alerts.push(`interface ${name} is gone`);
    else if (isUp(name) === false) alerts.push(`interface ${name} is down: sudo ip link set ${name} up`);
    // Frames that come late have waited in the kernel's ring: it is filling, and will overflow when that goes on.
    const { epochNs } = this.#source.info;
    const behindMs = epochNs === null ? 0 : Date.now() - (Number(epochNs / 1_000_000n) + snapshot.nowNs / 1e6);
    if (snapshot.frames - this.#lastFrames > BUSY_FRAMES && behindMs > BEHIND_MS) {
      alerts.push(`the analysis is ${duration(behindMs * 1e6)} behind the wire: frames will be lost when that grows`);
    }
    if (narrowing?.tag === 'refused')
      alerts.push(`still capturing everything, not only the migration: ${narrowing.reason}`);
    const recording = this.#recording;
    if (recording?.failure) alerts.push(recording.failure.message);
    return {
      interface: name,
      engine: engine.name,
      accuracy: engine.accuracy,
      lost,
      snapLength,
      cutFrames: this.#source.info.inputs[0]?.cutFrames ?? 0,
      alerts,
      narrowedNs: narrowing?.tag === 'done' ? narrowing.sinceNs : null,
      recording: recording && { path: this.#options.write ?? '', bytes: recording.bytes, files: recording.files },
      ending: this.#ending,
    };
  }
}

/** Says when a migration is over: quiet for a while after its end mark, or for long without one. */
export class EndWatch {
  #migration = -1;
  #lastDataNs = 0;
  #lastDataMs = 0;

  isOver({ migration }: Snapshot, nowMs: number): boolean {
    if (migration === null) return false;
    if (migration.id !== this.#migration || migration.lastDataNs !== this.#lastDataNs) {
      this.#migration = migration.id;
      this.#lastDataNs = migration.lastDataNs;
      this.#lastDataMs = nowMs;
    }
    return nowMs - this.#lastDataMs >= (migration.outcome === null ? SILENCE_MS : QUIET_AFTER_END_MS);
  }
}

// ---- option values -------------------------------------------------------------------------------------------------

const TIMES_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000 };
const SIZES: Readonly<Record<string, number>> = {
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
};

/** '500ms', '90s', '10m', '1h', or seconds without a unit → ms. At most what a timer can wait (24 days). */
export function parseTime(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?$/.exec(text);
  const ms = match ? Number(match[1]) * TIMES_MS[match[2] ?? 's']! : Number.NaN;
  if (!(ms > 0 && ms < 2 ** 31)) throw new InvalidArgumentError('Expected a time such as 500ms, 90s, 10m or 1h.');
  return ms;
}

/** '100MB', '1GiB' → a size; '30s', '10m' → a time. */
export function parseRotation(text: string): Rotation {
  const size = /^(\d+(?:\.\d+)?)\s*([kmg]i?b)$/i.exec(text);
  if (size) {
    const bytes = Number(size[1]) * SIZES[size[2]!.toLowerCase()]!;
    if (bytes >= 1e5) return { bytes, ns: null };
    throw new InvalidArgumentError('Expected at least 100kB a file.');
  }
  try {
    return { bytes: null, ns: Math.max(1000, parseTime(text)) * 1e6 };
  } catch {
    throw new InvalidArgumentError('Expected a size such as 100MB or 1GiB, or a time such as 30s or 10m.');
  }
}

export function parseSnapLength(text: string): number {
  const bytes = parseCount(text);
  if (bytes < 54 || bytes > 262_144) {
    throw new InvalidArgumentError(
      'Expected 54 (Ethernet, IPv4 and TCP headers) to 262144 bytes; 128 also holds options.',
    );
  }
  return bytes;
}
