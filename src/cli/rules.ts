// `migscope rules` lists the diagnosis rules, `migscope explain R-A1` prints one.
import type { Command } from 'commander';
import { unknownRule } from '../errors.js';
import { RULES } from '../report/rules/index.js';
import { SuggestedArgument } from './completion.js';
import { addHelp } from './help.js';
import type { CliIo } from './io.js';
import { columnsOf } from './io.js';
import { print } from './output.js';

export function registerRules(program: Command, io: CliIo): void {
  const command = program
    .command('rules')
    .summary('list the diagnosis rules')
    .description('Lists the diagnosis rules: id, what must be in the capture for it (layer), and what it finds.');
  addHelp(command, '\nExamples:\n  migscope rules\n  migscope explain R-A1').action(() =>
    print(io.stdout, RULES.map((rule) => `${rule.id.padEnd(7)} ${rule.layer}  ${rule.title}\n`).join('')),
  );
}

export function registerExplain(program: Command, io: CliIo): void {
  const command = program
    .command('explain')
    .summary('explain one diagnosis rule')
    .description('Prints what a diagnosis rule means, what proves it, what it is confused with, and what helps.')
    .addArgument(
      new SuggestedArgument(
        '<rule>',
        'id of a rule, e.g. R-A1',
        RULES.map(({ id }) => id),
      ),
    );
  addHelp(command, '\nExamples:\n  migscope explain R-E1').action(async (id: string) => {
    const rule = RULES.find((candidate) => candidate.id.toLowerCase() === id.toLowerCase());
    if (!rule) throw unknownRule(id);
    const body = rule.explanation
      .trim()
      .split('\n')
      .map((line) => wrap(line, columnsOf(io.stdout)))
      .join('\n');
    await print(io.stdout, `${rule.id}  ${rule.title}\n\n${body}\n`);
  });
}

function wrap(paragraph: string, width: number): string {
  const lines: string[] = [];
  let line = '';
  for (const word of paragraph.split(' ')) {
    if (line && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line ? `${line} ${word}` : word;
  }
  return [...lines, line].join('\n');
}
