// `migscope compare`: two or more runs side by side, from captures or saved results.

import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { Command } from 'commander';
import { stdinTwice, twoRunsNeeded } from '../errors.js';
import { compareReports, renderCompareHtml, renderCompareText } from '../report/compare.js';
import { plainJson } from '../report/format.js';
import type { ReportData } from '../report/report.js';
import { analyzeFiles } from './analyze.js';
import { toReport } from './deliver.js';
import { addHelp } from './help.js';
import { type CliIo, columnsOf, wantsColor } from './io.js';
import { checkOutputs, print, writeResult } from './output.js';
import { readReport } from './report.js';

interface Options {
  readonly json?: string;
  readonly html?: string;
  readonly force?: boolean;
  readonly quiet?: boolean;
  readonly redact?: boolean;
}

const EXAMPLES = `
The first run is the one the others are measured against.

Examples:
  migscope compare cubic.pcap bbr.pcap
  migscope compare before.json after.json --html compare.html
  migscope compare 1-channel.pcap.gz 4-channels.pcap.gz 8-channels.pcap.gz --json -`;

export function registerCompare(program: Command, io: CliIo): void {
  const command = program
    .command('compare')
    .summary('compare two or more runs')
    .description('Sets two or more migrations side by side: what changed, by how much, and whether it matters.')
    .argument('<run...>', 'captures or saved JSON results, at least two')
    .option('--json <file>', 'write the comparison as JSON; - for standard output')
    .option('--html <file>', 'write one self-contained page; - for standard output')
    .option('-f, --force', 'replace existing output files')
    .option('-q, --quiet', 'no summary and no progress')
    .option('--redact', 'replace addresses and names in every output');
  addHelp(command, EXAMPLES).action((runs: string[], options: Options) => compare(runs, options, io));
}

async function compare(runs: readonly string[], options: Options, io: CliIo): Promise<void> {
  if (runs.length < 2) throw twoRunsNeeded(runs.length);
  if (runs.filter((run) => run === '-').length > 1) throw stdinTwice();
  checkOutputs(options, runs);
  const reports: { name: string; report: ReportData }[] = [];
  for (const name of runs) reports.push({ name, report: await readRun(name, options, io) });
  const comparison = compareReports(reports);
  if (options.json !== undefined) await writeResult(options.json, `${plainJson(comparison)}\n`, io);
  if (options.html !== undefined) await writeResult(options.html, await renderCompareHtml(comparison), io);
  if (options.quiet || options.json === '-' || options.html === '-') return;
  await print(
    io.stdout,
    renderCompareText(comparison, { color: wantsColor(io.stdout, io.env), width: columnsOf(io.stdout) }),
  );
}

async function readRun(name: string, options: Options, io: CliIo): Promise<ReportData> {
  return looksLikeJson(name) ? readReport(name, io) : toReport(await analyzeFiles([name], options, io), options);
}

/** A saved result starts with a brace; no capture format does. Unreadable files are left to the capture reader's message. */
function looksLikeJson(path: string): boolean {
  // A pipe gives its first byte only once, and its writer may take an end that opens and closes for the last.
  if (path === '-' || !statSync(path, { throwIfNoEntry: false })?.isFile()) return false;
  const first = Buffer.alloc(1);
  try {
    const file = openSync(path, 'r');
    try {
      return readSync(file, first, 0, 1, 0) === 1 && first[0] === 0x7b;
    } finally {
      closeSync(file);
    }
  } catch {
    return false;
  }
}
