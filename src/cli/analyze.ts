// `migscope analyze`: files or standard input to summary, JSON, tables and page.
import type { Command } from 'commander';
import { Analysis, type Results } from '../analyze.js';
import { AnomalyLog } from '../anomaly.js';
import { openFiles, openStream } from '../capture/source.js';
import { noFrames, twoOutputsToStdout } from '../errors.js';
import { deliver, toReport } from './deliver.js';
import type { CliIo } from './io.js';
import { type AnalysisOptions, addAnalysisOptions, addOutputOptions, type OutputOptions } from './options.js';
import { checkTargets } from './output.js';
import { ProgressBar } from './progress.js';

type Options = OutputOptions & AnalysisOptions;

const EXAMPLES = `
FILE is pcap or pcapng, plain or inside gzip or zstd; - is standard input. Several files (rotated, or of several
interfaces) are merged by time, in any order.

Examples:
  migscope analyze migration.pcap
  migscope analyze migration.pcapng.gz --html report.html --json report.json
  tcpdump -r all.pcap -w - host 10.0.0.2 | migscope analyze - --json -
  migscope analyze --port 49152 started-late.pcap
  migscope analyze big.pcap --what-if bandwidth=25Gbit,downtime=300ms`;

export function registerAnalyze(program: Command, io: CliIo): void {
  const command = program
    .command('analyze')
    .summary('analyse capture files')
    .description('Finds the migrations in packet captures and says what happened, how fast, and what stood in the way.')
    .argument('<file...>', 'capture files, or - for standard input');
  addAnalysisOptions(addOutputOptions(command)).addHelpText('after', EXAMPLES);
  command.action((files: string[], options: Options) => analyze(files, options, io));
}

async function analyze(files: readonly string[], options: Options, io: CliIo): Promise<void> {
  if (options.json === '-' && options.html === '-') throw twoOutputsToStdout();
  checkTargets([options.json, options.html], options.force ?? false);
  const report = toReport(await analyzeFiles(files, options, io), options);
  await deliver(report, options, io);
  if (options.strict && report.anomalies.some((anomaly) => anomaly.severity !== 'note')) io.exitCode = 3;
}

/** Reads `files` to the end with a progress bar. Throws InputError when they are no captures or hold no frames. */
export async function analyzeFiles(
  files: readonly string[],
  options: AnalysisOptions & { readonly quiet?: boolean },
  io: CliIo,
): Promise<Results> {
  const log = new AnomalyLog();
  const source = await (files.length === 1 && files[0] === '-'
    ? openStream('-', io.stdin, log)
    : openFiles(files, log));
  const analysis = new Analysis(log, options);
  const progress = new ProgressBar(io, options.quiet ?? false);
  try {
    for await (const batch of source.batches()) {
      analysis.push(batch);
      const { doneBytes, totalBytes } = source.progress();
      progress.update(doneBytes, totalBytes);
    }
  } finally {
    progress.end();
    source.close();
  }
  const results = analysis.finish(source.info);
  if (results.frames === 0) throw noFrames(files);
  return results;
}
