// `migscope analyze`: files or standard input to summary, JSON, tables and page.
import { availableParallelism } from 'node:os';
import type { Command } from 'commander';
import { Analysis, type Results } from '../analyze.js';
import { AnomalyLog } from '../anomaly.js';
import type { CaptureSource, PacketBatch } from '../capture/packet-batch.js';
import { openFiles, openStream } from '../capture/source.js';
import { decodeFrames } from '../decode/frame.js';
import { createRows, KIND_TCP } from '../decode/rows.js';
import { pair } from '../decode/tcp/pairing.js';
import type { WantedStretch } from '../decode/tcp/stretch.js';
import { bothEndsOrFiles, emptyStretch, noFrames, noSuchConnection, noSuchPort, type UsageError } from '../errors.js';
import { addBothEnds } from '../report/both-ends.js';
import type { ReportData } from '../report/report.js';
import { payloadBytesOf } from '../report/traffic.js';
import { deliver, toReport } from './deliver.js';
import { addHelp } from './help.js';
import { type CliIo, printError } from './io.js';
import {
  type AnalysisOptions,
  addAnalysisOptions,
  addOutputOptions,
  type OutputOptions,
  parseStretch,
} from './options.js';
import { checkOutputs } from './output.js';
import { ProgressBar } from './progress.js';

type Options = OutputOptions &
  AnalysisOptions & { readonly source?: string; readonly destination?: string; readonly stretch?: WantedStretch };

const EXAMPLES = `
FILE is pcap or pcapng, plain or inside gzip or zstd; - is standard input. Several files (rotated, or of several
interfaces) are merged by time, in any order.

Examples:
  migscope analyze migration.pcap
  migscope analyze migration.pcapng.gz --html report.html --json report.json
  tcpdump -r all.pcap -w - host 10.0.0.2 | migscope analyze - --json -
  migscope analyze --port 49152 started-late.pcap
  migscope analyze --source src.pcap --destination dst.pcap
  migscope analyze big.pcap --what-if bandwidth=25Gbit,downtime=300ms
  migscope analyze slow.pcap --stretch 12.5..13 --html report.html`;

export function registerAnalyze(program: Command, io: CliIo): void {
  const command = program
    .command('analyze')
    .summary('analyse capture files')
    .description('Finds the migrations in packet captures and says what happened, how fast, and what stood in the way.')
    .argument('[file...]', 'capture files, or - for standard input')
    .option('--source <file>', 'capture taken on the source host, with --destination: exact losses, one-way delays')
    .option('--destination <file>', 'capture taken on the destination host at the same time')
    .option(
      '--stretch <from..to[:connection]>',
      'keep every segment of this stretch for the time-sequence graph, in seconds (e.g. 12.5..13); without :connection of the busiest one',
      parseStretch,
    );
  addHelp(addAnalysisOptions(addOutputOptions(command)), EXAMPLES);
  command.action((files: string[], options: Options) => analyze(files, options, io));
}

async function analyze(files: readonly string[], options: Options, io: CliIo): Promise<void> {
  const { source, destination } = options;
  checkOutputs(options, [...files, source ?? '', destination ?? '']);
  if (files.length > 0 ? source !== undefined || destination !== undefined : !source || !destination) {
    throw bothEndsOrFiles();
  }
  const report =
    source && destination
      ? await analyzeBothEnds(source, destination, options, io)
      : toReport(await analyzeFiles(files, options, io), options);
  const { stretch } = options;
  if (stretch && !segmentTimes(report).some((tNs) => tNs >= stretch.fromNs && tNs < stretch.toNs)) {
    throw emptyStretch(stretch, report.capture.durationNs);
  }
  for (const mistake of unmatched(report, options)) printError(io, mistake);
  await deliver(report, options, io);
  if (options.strict && report.anomalies.some((anomaly) => anomaly.severity !== 'note')) io.exitCode = 3;
}

/** Busiest ports that are named beside one that does not occur. */
const PORTS_NAMED = 3;

/** A port or a connection that was asked for and is not in the capture: worth a word, for the result then lacks the migration. */
function unmatched({ connections }: ReportData, { port, connection }: Options): UsageError[] {
  const mistakes: UsageError[] = [];
  // Either end may be the server where the capture began midway.
  if (port !== undefined && !connections.some(({ client, server }) => server.port === port || client.port === port)) {
    const busiest = connections
      .toSorted((a, b) => payloadBytesOf(b) - payloadBytesOf(a))
      .map(({ server }) => server.port);
    mistakes.push(noSuchPort(port, [...new Set(busiest)].slice(0, PORTS_NAMED)));
  }
  if (connection !== undefined && !connections.some(({ id }) => id === connection))
    mistakes.push(noSuchConnection(connection, connections.length));
  return mistakes;
}

/** When the single segments that the report holds were sent. */
const segmentTimes = ({ tables }: ReportData): readonly number[] =>
  (tables['tcpSegments']?.columns['tNs']?.values ?? []) as readonly number[];

/** The report of the source's capture, with what the destination's adds to it. */
async function analyzeBothEnds(source: string, destination: string, options: Options, io: CliIo): Promise<ReportData> {
  const both = [];
  for (const file of [source, destination]) both.push(await readCapture([file], { ...options, keepFrames: true }, io));
  const [first, second] = both.map(({ analysis, results }) => analysis.pairable(results.capture)!);
  return toReport(both[0]!.results, options, (report) =>
    addBothEnds(report, pair(first!, second!), { source, destination }),
  );
}

/** Reads `files` to the end with a progress bar. Throws InputError when they are no captures or hold no frames. */
export async function analyzeFiles(
  files: readonly string[],
  options: AnalysisOptions & { readonly quiet?: boolean },
  io: CliIo,
): Promise<Results> {
  return (await readCapture(files, options, io)).results;
}

/** Frames from which a thread of their own pays for TCP metrics: with fewer, starting it costs what it saves. */
const MANY_FRAMES = 500_000;
/** More flows than this, with fewer frames each, want memory for connections, and not for a thread. */
const FEW_FLOWS = 256;
const FRAMES_PER_FLOW = 4;

/** Whether so many are to come, and not of ever new connections, if all goes on as in the first batch. */
function hasManyFrames(source: CaptureSource, batch: PacketBatch): boolean {
  const { count, captured, view } = batch;
  const bytes = captured.subarray(0, count).reduce((sum, length) => sum + length, 0);
  const isLarge = ((source.progress().totalBytes ?? 0) / bytes) * count >= MANY_FRAMES;
  if (!isLarge || availableParallelism() === 1) return false;
  const rows = createRows();
  decodeFrames(batch, rows);
  const flows = new Set<number>();
  for (let row = 0; row < count; row++) {
    if (rows.kind[row] !== KIND_TCP) continue;
    const at = rows.addresses[row]!;
    flows.add((Math.imul(view.getUint32(at) ^ rows.ports[row]!, 0x9e3779b1) ^ view.getUint32(at + 4)) >>> 0);
  }
  return flows.size <= Math.max(FEW_FLOWS, count / FRAMES_PER_FLOW);
}

type ReadOptions = AnalysisOptions & {
  readonly quiet?: boolean;
  readonly keepFrames?: boolean;
  readonly stretch?: WantedStretch;
};

/** An analysis that suits a capture with such a first batch. */
function analysisOf(source: CaptureSource, first: PacketBatch, log: AnomalyLog, options: ReadOptions): Analysis {
  return new Analysis(log, { ...options, aside: hasManyFrames(source, first) });
}

async function readCapture(
  files: readonly string[],
  options: ReadOptions,
  io: CliIo,
): Promise<{ readonly analysis: Analysis; readonly results: Results }> {
  const log = new AnomalyLog();
  const source = await (files.length === 1 && files[0] === '-'
    ? openStream('-', io.stdin, log)
    : openFiles(files, log));
  let analysis: Analysis | undefined;
  const progress = new ProgressBar(io, options.quiet ?? false);
  try {
    for await (const batch of source.batches()) {
      analysis ??= analysisOf(source, batch, log, options);
      analysis.push(batch);
      const { doneBytes, totalBytes } = source.progress();
      progress.update(doneBytes, totalBytes);
    }
  } finally {
    progress.end();
    source.close();
  }
  const results = analysis?.finish(source.info);
  if (!analysis || !results || results.frames === 0) throw noFrames(files);
  return { analysis, results };
}
