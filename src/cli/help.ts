// What stands behind the options in a command's help, kept so that the manual page prints the same.
import type { Command } from 'commander';

const TEXTS = new WeakMap<Command, string>();

/** Adds notes and examples to a command's help; a line 'Examples:' begins the examples. */
export function addHelp(command: Command, text: string): Command {
  TEXTS.set(command, text);
  return command.addHelpText('after', text);
}

/** The notes of a command, paragraph by paragraph, and its example lines; both empty where it has none. */
export function helpOf(command: Command): { readonly notes: readonly string[]; readonly examples: readonly string[] } {
  const [notes = '', examples = ''] = (TEXTS.get(command) ?? '').split(/^Examples:\n/m);
  return {
    notes: notes
      .split(/\n{2,}/)
      .map((note) => note.trim())
      .filter((note) => note !== ''),
    examples: examples.split('\n').filter((line) => line.trim() !== ''),
  };
}
