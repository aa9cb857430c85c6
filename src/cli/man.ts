// `migscope man`: the manual page in roff, made from the same definitions as --help.
import type { Command } from 'commander';
import { EXIT_CODES } from './exit-codes.js';
import { addHelp, helpOf } from './help.js';
import type { CliIo } from './io.js';
import { print } from './output.js';
import { VERSION } from './version.js';

export function registerMan(program: Command, io: CliIo): void {
  const command = program
    .command('man')
    .summary('print the manual page')
    .description('Prints the manual page in roff.');
  addHelp(command, '\nExamples:\n  migscope man | man -l -').action(() => print(io.stdout, manPage(program)));
}

// A line that starts with a dot or a quote would be a request; hyphens are minus signs in option names.
const roff = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/gm, '\\&$1');

const item = (head: string, text: string): string[] => ['.TP', `.B ${roff(head)}`, roff(text)];
const verbatim = (lines: readonly string[]): string[] => ['.nf', ...lines.map((line) => roff(line.trim())), '.fi'];

/** The whole manual as roff source, one section a command. */
function manPage(program: Command): string {
  const lines = [
    `.TH ${program.name().toUpperCase()} 1 "" "${program.name()} ${VERSION}"`,
    '.SH NAME',
    `${program.name()} \\- ${roff('packet-capture trace analyzer for QEMU/KVM live migration')}`,
    '.SH SYNOPSIS',
    `.B ${program.name()}`,
    roff('<command> [options] [arguments]'),
    '.SH DESCRIPTION',
    roff(program.description()),
    '.SH COMMANDS',
    ...program.commands.flatMap(commandLines),
    '.SH EXAMPLES',
    ...verbatim(helpOf(program).examples),
    '.SH EXIT STATUS',
    ...EXIT_CODES.flatMap(([code, meaning]) => item(String(code), meaning)),
  ];
  return `${lines.join('\n')}\n`;
}

function commandLines(command: Command): string[] {
  const { notes, examples } = helpOf(command);
  return [
    `.SS ${roff(`${command.name()} ${command.usage()}`)}`,
    roff(command.description()),
    ...command.registeredArguments.flatMap((argument) => item(argument.name(), argument.description)),
    ...command.options.flatMap(({ flags, description, argChoices, defaultValue, defaultValueDescription }) => {
      const choices = argChoices ? ` (${argChoices.join(', ')})` : '';
      const usual = defaultValueDescription ?? defaultValue;
      return item(flags, `${description}${choices}${usual === undefined ? '' : `; ${String(usual)} if not given`}`);
    }),
    ...notes.flatMap((note) => ['.PP', ...noteLines(note)]),
    ...(examples.length > 0 ? ['.PP', 'Examples:', ...verbatim(examples)] : []),
  ];
}

/** A note as running text; its indented lines are commands to type. */
const noteLines = (note: string): string[] =>
  note.split('\n').flatMap((line) => (line.startsWith('  ') ? verbatim([line]) : [roff(line)]));
