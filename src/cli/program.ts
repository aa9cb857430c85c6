// The command line: which commands there are, and how errors become messages and exit codes.
//
//   0 done · 1 the input or output cannot be used · 2 wrong call · 3 anomalies under --strict · 70 a defect of ours
import { statSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { InputError, UsageError } from '../errors.js';
import { plain } from '../report/format.js';
import { registerAnalyze } from './analyze.js';
import { registerCompare } from './compare.js';
import { registerCompletion } from './completion.js';
import { EXIT_CODES } from './exit-codes.js';
import { addHelp } from './help.js';
import { registerInterfaces } from './interfaces.js';
import type { CliIo, Register } from './io.js';
import { printError, wantsColor } from './io.js';
import { registerLive } from './live.js';
import { registerMan } from './man.js';
import { registerReport } from './report.js';
import { registerExplain, registerRules } from './rules.js';
import { VERSION } from './version.js';

/** In the order of `migscope --help`. */
const COMMANDS: readonly Register[] = [
  registerAnalyze,
  registerLive,
  registerInterfaces,
  registerCompare,
  registerReport,
  registerRules,
  registerExplain,
  registerCompletion,
  registerMan,
];

const EXAMPLES = `
Examples:
  migscope analyze migration.pcap --html report.html     a capture, and a page to open
  migscope analyze ring_*.pcapng.gz --json -             rotated files in any order, JSON to the next program
  ssh host tcpdump -i eth0 -w - port 49152 | migscope analyze -
  migscope live -i eth0 --until-done --html report.html  watch a migration while it runs
  migscope compare cubic.pcap bbr.pcap --html compare.html`;

const EXIT_TEXT = `\nExit codes:\n  ${EXIT_CODES.map(([code, meaning]) => `${code} ${meaning}`).join('   ')}`;

/** Builds the program; `io` is all it may touch. */
function buildProgram(io: CliIo): Command {
  const program = new Command('migscope');
  program
    .description(
      'Reads packet captures of QEMU/KVM live migrations: what happened, how fast, and what stood in the way.',
    )
    .version(VERSION, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand('help [command]', 'print the help of a command')
    .showHelpAfterError('  See migscope --help, or the --help of the command.')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => io.stderr.write(text),
      // Like our own messages; what was typed is repeated in it.
      outputError: (text, write) =>
        write(
          text
            .replace(/^error: /, 'migscope: ')
            .split('\n')
            .map((line) => plain(line, 1000))
            .join('\n'),
        ),
      getOutHelpWidth: () => io.stdout.columns ?? 80,
      getErrHelpWidth: () => io.stderr.columns ?? 80,
      getOutHasColors: () => wantsColor(io.stdout, io.env),
      getErrHasColors: () => wantsColor(io.stderr, io.env),
    });
  addHelp(program, EXAMPLES).addHelpText('after', EXIT_TEXT);
  for (const register of COMMANDS) register(program, io);
  for (const command of program.commands) {
    command.exitOverride().copyInheritedSettings(program).helpOption('-h, --help', 'print this help');
  }
  return program;
}

/**
 * Runs one command line.
 *
 * @param args  the arguments after the program's name
 * @returns     the exit code. Does not throw; a defect of ours is printed with its stack and gives 70.
 */
export async function run(args: readonly string[], io: CliIo): Promise<number> {
  const program = buildProgram(io);
  if (args.length === 0) {
    io.stderr.write(`${program.helpInformation()}${EXAMPLES}\n${EXIT_TEXT}\n`);
    return 2;
  }
  try {
    await program.parseAsync(args, { from: 'user' });
    return io.exitCode;
  } catch (error) {
    const [word = ''] = args;
    if (error instanceof CommanderError && error.code === 'commander.unknownCommand' && isFile(word))
      io.stderr.write('  It is a file: migscope analyze FILE reads a capture, migscope report FILE a saved result.\n');
    return report(error, io);
  }
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;

function report(error: unknown, io: CliIo): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError || error instanceof InputError) {
    printError(io, error);
    return error instanceof UsageError ? 2 : 1;
  }
  io.stderr.write(
    `migscope: this is a defect in migscope, not in your capture. Please report it with the text below.\n${
      error instanceof Error ? (error.stack ?? error.message) : String(error)
    }\n`,
  );
  return 70;
}
