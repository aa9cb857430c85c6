// `migscope man`: the manual page in roff, made from the same definitions as --help.
import type { Command } from 'commander';
import type { CliIo } from './io.js';
import { print } from './output.js';

export function registerMan(program: Command, io: CliIo): void {
  program
    .command('man')
    .summary('print the manual page')
    .description('Prints the manual page in roff.')
    .addHelpText('after', '\nExamples:\n  migscope man | man -l -')
    .action(() => print(io.stdout, manPage(program)));
}

// A line that starts with a dot or a quote would be a request; hyphens are minus signs in option names.
const roff = (text: string): string =>
  text
    .replace(/\\/g, '\\e')
    .replace(/-/g, '\\-')
    .replace(/^([.'])/gm, '\\&$1');

/** The whole manual as roff source, one section a command. */
export function manPage(program: Command): string {
  const lines = [
    `.TH ${program.name().toUpperCase()} 1`,
    '.SH NAME',
    `${program.name()} \\- ${roff('packet-capture trace analyzer for QEMU/KVM live migration')}`,
    '.SH SYNOPSIS',
    `.B ${program.name()}`,
    roff('<command> [options] [arguments]'),
    '.SH DESCRIPTION',
    roff(program.description()),
    '.SH COMMANDS',
  ];
  for (const command of program.commands) {
    lines.push(`.SS ${roff(`${command.name()} ${command.usage()}`)}`, roff(command.description()));
    for (const option of command.options) lines.push('.TP', `.B ${roff(option.flags)}`, roff(option.description));
  }
  lines.push(
    '.SH EXIT STATUS',
    ...[
      ['0', 'done'],
      ['1', 'an input or output cannot be used'],
      ['2', 'wrong call'],
      ['3', 'the capture or the stream is damaged, with \\-\\-strict'],
      ['70', 'a defect in migscope'],
    ].flatMap(([code, text]) => ['.TP', `.B ${code}`, text!]),
  );
  return `${lines.join('\n')}\n`;
}
