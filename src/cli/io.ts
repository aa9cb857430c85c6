// What a command may touch of the outside: its streams, the clock for progress, signals. Tests pass fakes.
import type { Readable, Writable } from 'node:stream';
import type { Command } from 'commander';
import { plain } from '../report/format.js';

export interface CliIo {
  readonly stdin: Readable;
  readonly stdout: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly stderr: Writable & { readonly isTTY?: boolean; readonly columns?: number };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Exit code of the command; 0 until something says otherwise. */
  exitCode: number;
}

/** Adds one command to the program. */
export type Register = (program: Command, io: CliIo) => void;

/** Says what went wrong and what to try. File names and what other programs said may hold control characters: they are shown. */
export function printError(
  { stderr }: CliIo,
  { message, hint }: { readonly message: string; readonly hint: string },
): void {
  stderr.write(`migscope: ${plain(message, ERROR_CHARACTERS)}\n  ${plain(hint, ERROR_CHARACTERS)}\n`);
}

const ERROR_CHARACTERS = 8192;

/** Columns of the terminal behind `stream`; 80 where it is none. */
export const columnsOf = (stream: CliIo['stdout']): number => Math.max(40, Math.min(stream.columns ?? 80, 160));

/** Colours only on a terminal, never against NO_COLOR; FORCE_COLOR insists. */
export function wantsColor(stream: CliIo['stdout'], env: CliIo['env']): boolean {
  if (env['NO_COLOR']) return false;
  if (env['FORCE_COLOR'] && env['FORCE_COLOR'] !== '0') return true;
  return stream.isTTY === true && env['TERM'] !== 'dumb';
}
