// `migscope completion bash|zsh`: shell completion, made from the same definitions as --help.
//
// What a value may be is read off the definitions: given choices, <file> and <dir> in the flags; anything else has no
// suggestions, because a wrong one is worse than none.
import { Argument, type Command, type Option } from 'commander';
import { unknownShell } from '../errors.js';
import { addHelp } from './help.js';
import type { CliIo } from './io.js';
import { print } from './output.js';

const EXAMPLES = `
Examples:
  source <(migscope completion bash)
  migscope completion zsh > "\${fpath[1]}/_migscope"`;

const SHELLS: Readonly<Record<string, (program: Command) => string>> = { bash: bashCompletion, zsh: zshCompletion };

export function registerCompletion(program: Command, io: CliIo): void {
  const command = program
    .command('completion')
    .summary('print shell completion')
    .description('Prints a completion script for bash or zsh.')
    .addArgument(new SuggestedArgument('<shell>', 'bash or zsh', Object.keys(SHELLS)));
  addHelp(command, EXAMPLES).action(async (shell: string) => {
    const make = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (!make) throw unknownShell(shell);
    await print(io.stdout, make(program));
  });
}

/** An argument whose values are suggested by shells and checked by the command itself, with a message of its own. */
export class SuggestedArgument extends Argument {
  constructor(
    name: string,
    description: string,
    readonly suggestions: readonly string[],
  ) {
    super(name, description);
  }
}

type Values = 'file' | 'folder' | 'none' | readonly string[];

/** What the value of an option may be; null where it takes none. */
function valuesOf({ flags, argChoices, required, optional }: Option): Values | null {
  if (!required && !optional) return null;
  if (argChoices) return argChoices;
  return flags.endsWith('<file>') ? 'file' : flags.endsWith('<dir>') ? 'folder' : 'none';
}

/** What the arguments of a command may be. */
function argumentValues(command: Command): Values {
  const [argument] = command.registeredArguments;
  if (!argument) return 'none';
  return argument instanceof SuggestedArgument ? argument.suggestions : 'file';
}

const flagsOf = (option: Option): string[] => [option.short, option.long].filter((flag) => flag != null);

/** A bash script that completes commands, options, their values, and file names. */
function bashCompletion(program: Command): string {
  const name = program.name();
  const reply = (values: Values): string => {
    if (values === 'none') return 'COMPREPLY=()';
    const what = values === 'file' ? '-f' : values === 'folder' ? '-d' : `-W "${values.join(' ')}"`;
    return `COMPREPLY=($(compgen ${what} -- "$current"))`;
  };
  const cases = program.commands.map((command) => {
    const words = [...command.options.flatMap(flagsOf), '--help'].join(' ');
    const values = command.options.flatMap((option) => {
      const possible = valuesOf(option);
      return possible === null ? [] : [`        ${flagsOf(option).join('|')}) ${reply(possible)}; return ;;`];
    });
    return [
      `    ${command.name()})`,
      ...(values.length > 0 ? ['      case "$previous" in', ...values, '      esac'] : []),
      `      if [[ "$current" == -* ]]; then ${reply(words.split(' '))}; else ${reply(argumentValues(command))}; fi ;;`,
    ].join('\n');
  });
  const commands = [...program.commands.map((command) => command.name()), '--help', '--version'];
  return `# bash completion for ${name}
_${name}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD - 1]}"
  if [ "$COMP_CWORD" -eq 1 ]; then
    ${reply(commands)}
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases.join('\n')}
  esac
}
complete -o filenames -F _${name} ${name}
`;
}

const zshText = (text: string): string =>
  text.replace(/[[\]:'"\\$`]/g, (character) => (character === "'" ? '’' : `\\${character}`));

/** A zsh script that completes commands, options with their descriptions, their values, and file names. */
function zshCompletion(program: Command): string {
  const name = program.name();
  const action = (values: Values): string => {
    if (values === 'none') return ' ';
    return values === 'file' ? '_files' : values === 'folder' ? '_files -/' : `(${values.join(' ')})`;
  };
  const optionLine = (option: Option): string => {
    const flags = flagsOf(option);
    const values = valuesOf(option);
    const rest = `[${zshText(option.description)}]${values === null ? '' : `:value:${action(values)}`}`;
    return flags.length > 1 ? `'(${flags.join(' ')})'{${flags.join(',')}}'${rest}'` : `'${flags[0]}${rest}'`;
  };
  const cases = program.commands.map((command) => {
    const lines = [
      ...command.options.map(optionLine),
      `'(-h --help)'{-h,--help}'[print this help]'`,
      ...(command.registeredArguments.length > 0 ? [`'*:argument:${action(argumentValues(command))}'`] : []),
    ];
    return `    ${command.name()}) _arguments \\\n${lines.map((line) => `      ${line}`).join(' \\\n')} ;;`;
  });
  const names = program.commands.map((command) => `    '${command.name()}:${zshText(command.summary())}'`);
  return `#compdef ${name}
_${name}() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
if [ "$funcstack[1]" = "_${name}" ]; then _${name} "$@"; else compdef _${name} ${name}; fi
`;
}
