// `migscope report`: rebuilds every output from a saved JSON result, without the capture.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { cannotRead, noSuchFile, notAReport } from '../errors.js';
import type { ReportData } from '../report/report.js';
import { checkSaved } from '../report/saved.js';
import { deliver, judge } from './deliver.js';
import { addHelp } from './help.js';
import type { CliIo } from './io.js';
import { type AnalysisOptions, addJudgementOptions, addOutputOptions, type OutputOptions } from './options.js';
import { checkOutputs } from './output.js';

const EXAMPLES = `
Examples:
  migscope report saved.json                       print the summary again
  migscope report saved.json --html report.html    rebuild the page
  migscope report saved.json --what-if bandwidth=25Gbit,downtime=300ms`;

export function registerReport(program: Command, io: CliIo): void {
  const command = program
    .command('report')
    .summary('rebuild outputs from a saved JSON result')
    .description('Rebuilds the summary, the page or the tables from a saved JSON result; the capture is not needed.')
    .argument('<file>', 'result written by analyze --json; - for standard input');
  addHelp(addJudgementOptions(addOutputOptions(command)), EXAMPLES);
  command.action(async (file: string, options: OutputOptions & AnalysisOptions) => {
    checkOutputs(options, []); // a result may be renewed in place: it is read whole before anything is written
    await deliver(judge(await readReport(file, io), options), options, io);
  });
}

/** Reads a saved result. Throws InputError when it is none, or of a version that is not understood. */
export async function readReport(path: string, io: CliIo): Promise<ReportData> {
  const text = path === '-' ? await readAll(io) : readText(path);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw notAReport(path, text === '' ? 'it is empty' : 'it is not JSON');
  }
  const saved = checkSaved(value);
  if (typeof saved === 'string') throw notAReport(path, saved);
  return saved;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw noSuchFile(path);
    throw cannotRead(path, code === 'EISDIR' ? 'it is a directory' : message);
  }
}

async function readAll(io: CliIo): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString('utf8');
}
