// `migscope completion bash|zsh`: shell completion, made from the same definitions as --help.
import type { Command, Option } from 'commander';
import { unknownShell } from '../errors.js';
import type { CliIo } from './io.js';
import { print } from './output.js';

const EXAMPLES = `
Examples:
  source <(migscope completion bash)
  migscope completion zsh > "\${fpath[1]}/_migscope"`;

export function registerCompletion(program: Command, io: CliIo): void {
  program
    .command('completion')
    .summary('print shell completion')
    .description('Prints a completion script for bash or zsh.')
    .argument('<shell>', 'bash or zsh')
    .addHelpText('after', EXAMPLES)
    .action(async (shell: string) => {
      if (shell === 'bash') return print(io.stdout, bashCompletion(program));
      if (shell === 'zsh') return print(io.stdout, zshCompletion(program));
      throw unknownShell(shell);
    });
}

const words = (options: readonly Option[]): string =>
  options.flatMap((option) => [option.long, option.short].filter((flag) => flag !== undefined)).join(' ');

/** A bash script that completes commands, options and file names. */
export function bashCompletion(program: Command): string {
  const cases = program.commands
    .map((command) => `    ${command.name()}) words="${words(command.options)} --help" ;;`)
    .join('\n');
  return `# bash completion for ${program.name()}
_${program.name()}() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "${program.commands.map((command) => command.name()).join(' ')} --help --version" -- "$current"))
    return
  fi
  case "\${COMP_WORDS[1]}" in
${cases}
    *) words="" ;;
  esac
  case "$current" in
    -*) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
    *) COMPREPLY=($(compgen -f -- "$current")) ;;
  esac
}
complete -o filenames -F _${program.name()} ${program.name()}
`;
}

const zshText = (text: string): string =>
  text.replace(/[[\]:'"\\$`]/g, (character) => (character === "'" ? '’' : `\\${character}`));

/** A zsh script that completes commands, options with their descriptions, and file names. */
export function zshCompletion(program: Command): string {
  const names = program.commands.map((command) => `    '${command.name()}:${zshText(command.summary())}'`).join('\n');
  const cases = program.commands
    .map((command) => {
      const options = command.options.map((option) => {
        const value = option.required || option.optional ? ':value:_files' : '';
        return `      '${option.long}[${zshText(option.description)}]${value}' \\`;
      });
      return `    ${command.name()}) _arguments \\\n${options.join('\n')}\n      '*:file:_files' ;;`;
    })
    .join('\n');
  return `#compdef ${program.name()}
_${program.name()}() {
  local -a commands
  commands=(
${names}
  )
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases}
  esac
}
_${program.name()} "$@"
`;
}
