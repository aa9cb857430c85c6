// The errors a user can see, one function per message, and the assertion for our own mistakes.
//
// Exit codes: 0 done · 1 input cannot be used (InputError) · 2 wrong call (UsageError) · 3 anomalies under --strict ·
// 70 a defect of ours (AssertionError). Damage inside an input is never an error: see anomaly.ts.

/** Something is wrong with what was asked for: an option, an interface, a combination. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  constructor(
    message: string,
    /** What to try instead, a full sentence. */
    readonly hint: string,
  ) {
    super(message);
  }
}

/** An input or output that cannot be used at all. Exit code 1. */
export class InputError extends Error {
  override readonly name = 'InputError';
  constructor(
    message: string,
    /** What was expected and what to try, a full sentence. */
    readonly hint: string,
  ) {
    super(message);
  }
}

/** A broken invariant of this program. Never caught; exit code 70. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Stops with the facts at hand when an invariant of ours does not hold. */
export function assert(holds: boolean, message: string, facts: Record<string, unknown> = {}): asserts holds {
  if (!holds) throw new AssertionError(`${message} ${JSON.stringify(facts)}`);
}

const hex = (value: number, digits: number): string => `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;

export const notACapture = (path: string, magic: number): InputError =>
  new InputError(
    `${path} does not start like a capture file (first bytes ${hex(magic, 8)}).`,
    'Expected pcap or pcapng, plain or inside gzip or zstd.',
  );

export const emptyInput = (path: string): InputError =>
  new InputError(
    `${path} is empty.`,
    'A capture starts with a file header of at least 24 bytes; check that the recording ran and was copied whole.',
  );

export const noSuchFile = (path: string): InputError =>
  new InputError(`${path} does not exist.`, 'Check the name; use - to read a capture from standard input.');

export const cannotRead = (path: string, reason: string): InputError =>
  new InputError(`${path} cannot be read: ${reason}.`, 'Check that it is a regular file and that you may read it.');

export const noFrames = (names: readonly string[]): InputError =>
  new InputError(
    `${names.join(', ')} ${names.length === 1 ? 'holds' : 'hold'} no frames.`,
    'The file header is valid but nothing follows it: check the capture filter, the interface, and that traffic was flowing.',
  );

export const outputExists = (path: string): UsageError =>
  new UsageError(`${path} exists already.`, 'Add --force to replace it, or choose another name.');

export const outputFolderMissing = (path: string): UsageError =>
  new UsageError(
    `${path} cannot be written: its folder does not exist.`,
    'Create the folder first, or choose another.',
  );

export const outputFailed = (path: string, reason: string): InputError =>
  new InputError(
    `${path} could not be written: ${reason}.`,
    'Check free space and permissions; nothing was left behind.',
  );

export const twoOutputsToStdout = (): UsageError =>
  new UsageError(
    'Only one result can go to standard output.',
    'Give - to one of --json and --html, a file to the other.',
  );

export const notANumber = (option: string, value: string, range: string): UsageError =>
  new UsageError(`${option} takes ${range}, not "${value}".`, 'See --help for examples.');

export const notAReport = (path: string, reason: string): InputError =>
  new InputError(`${path} is not a saved result: ${reason}.`, 'Expected a file written by migscope analyze --json.');

export const unknownRule = (id: string): UsageError =>
  new UsageError(`There is no rule ${id}.`, 'migscope rules lists them all.');

export const twoRunsNeeded = (count: number): UsageError =>
  new UsageError(`A comparison needs at least two runs, not ${count}.`, 'Name captures or saved JSON results.');

export const unknownShell = (shell: string): UsageError =>
  new UsageError(`There is no completion for ${shell}.`, 'Choose bash or zsh.');
