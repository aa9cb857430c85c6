// `migscope report`: rebuilds every output from a saved JSON result, without the capture.
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { notAReport, twoOutputsToStdout } from '../errors.js';
import type { ReportData } from '../report/report.js';
import { checkSaved } from '../report/saved.js';
import { deliver, judge } from './deliver.js';
import type { CliIo } from './io.js';
import { type AnalysisOptions, addOutputOptions, type OutputOptions, parseThreshold, parseWhatIf } from './options.js';
import { checkTargets } from './output.js';

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
  addOutputOptions(command)
    .option('--what-if <list>', 'also predict for bandwidth=RATE,downtime=TIME', parseWhatIf)
    .option(
      '--threshold <rule.name=value>',
      'judge with another threshold (see explain); may be repeated',
      parseThreshold,
    )
    .addHelpText('after', EXAMPLES);
  command.action(async (file: string, options: OutputOptions & AnalysisOptions) => {
    if (options.json === '-' && options.html === '-') throw twoOutputsToStdout();
    checkTargets([options.json, options.html], options.force ?? false);
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
    throw notAReport(path, 'it is not JSON');
  }
  const saved = checkSaved(value);
  if (typeof saved === 'string') throw notAReport(path, saved);
  return saved;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw notAReport(path, error instanceof Error ? error.message : String(error));
  }
}

async function readAll(io: CliIo): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of io.stdin) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString('utf8');
}
