// Writing results: whole or not at all, and never over an existing file unless asked.
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { constants } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import {
  outputExists,
  outputFailed,
  outputFolderMissing,
  outputIsFolder,
  outputIsInput,
  outputIsNoFolder,
  outputsShareFolder,
  twoOutputsToStdout,
} from '../errors.js';
import type { CliIo } from './io.js';

/** In every set of tables. */
const SCHEMA_FILE = 'schema.json';

interface Targets {
  readonly json?: string;
  readonly html?: string;
  readonly csv?: string;
  readonly arrow?: string;
  readonly force?: boolean;
}

/**
 * Refuses early, before minutes of work, what could not be written later. '-' is standard output.
 *
 * @param inputs  files that are read: --force does not replace them
 * @param others  further files that will be written
 */
export function checkOutputs(targets: Targets, inputs: readonly string[], others: readonly string[] = []): void {
  const { json, html, csv, arrow, force = false } = targets;
  if (json === '-' && html === '-') throw twoOutputsToStdout();
  const read = new Set(inputs.filter((path) => existsSync(path)).map((path) => realpathSync(path)));
  for (const path of [json, html, ...others]) {
    if (path === undefined || path === '-') continue;
    if (!existsSync(dirname(path))) throw outputFolderMissing(path);
    if (!existsSync(path) || isDevice(path)) continue;
    if (statSync(path).isDirectory()) throw outputIsFolder(path);
    if (read.has(realpathSync(path))) throw outputIsInput(path);
    if (!force) throw outputExists(path);
  }
  if (csv !== undefined && arrow !== undefined && resolve(csv) === resolve(arrow)) throw outputsShareFolder(csv);
  for (const folder of [csv, arrow]) {
    if (folder === undefined || !existsSync(folder)) continue;
    if (!statSync(folder).isDirectory()) throw outputIsNoFolder(folder);
    const schema = join(folder, SCHEMA_FILE);
    if (!force && existsSync(schema)) throw outputExists(schema);
  }
}

/** Something to write into, such as /dev/null or a named pipe: it holds nothing that could be lost, and is not replaced. */
const isDevice = (path: string): boolean => {
  const found = statSync(path, { throwIfNoEntry: false });
  return found !== undefined && !found.isFile() && !found.isDirectory();
};

const END_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
let writing = 0;

const endNow = (signal: NodeJS.Signals): void => process.exit(128 + constants.signals[signal]);

/**
 * Holds back signals that end the process until the files at hand are written: without a listener the system ends it
 * within a write, and the temporary file stays. A listener is called when the writing, which is synchronous, is over.
 */
function holdSignals(): void {
  if (writing++ === 0) for (const signal of END_SIGNALS) process.on(signal, endNow);
}

async function releaseSignals(): Promise<void> {
  await signalsHeard();
  if (--writing === 0) for (const signal of END_SIGNALS) process.off(signal, endNow);
}

/** The event loop looks for signals once a turn, and the turn at hand may have done so already. */
async function signalsHeard(): Promise<void> {
  await turn();
  await turn();
}

/**
 * Writes `content` to `path` under a temporary name beside it and renames: readers see the old file or the whole new
 * one. A link stays, what it points to is replaced. Throws InputError with the system's reason (disk full, no permission)
 * and leaves nothing behind, nor does a signal that ends the process.
 */
function writeWhole(path: string, content: string | Uint8Array): void {
  // A device keeps its name: /dev/stdout and /dev/fd/3 may stand for a pipe, whose real path is none.
  const target = existsSync(path) && !isDevice(path) ? realpathSync(path) : path;
  // Not too long where the name itself just is not: file systems take 255 bytes.
  const temporary = join(dirname(target), `.${basename(target).slice(0, 40)}.${process.pid}.partial`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  holdSignals();
  try {
    if (isDevice(target)) {
      writeFileSync(target, bytes);
      return;
    }
    const file = openSync(temporary, 'wx', 0o644);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, target);
  } catch (error) {
    rmSync(temporary, { force: true });
    if (isBrokenPipe(error)) return; // its reader has seen enough
    throw outputFailed(path, error instanceof Error ? error.message : String(error));
  } finally {
    void releaseSignals();
  }
}

/**
 * Writes a set of files into a folder, which is made when it does not exist. When one fails, those that are new go again;
 * files that were there stay, each the old one or the whole new one. Throws InputError with the system's reason, UsageError where a file exists and is not to be replaced.
 */
export function writeFolder(
  folder: string,
  files: readonly { readonly name: string; readonly content: string | Uint8Array }[],
  force: boolean,
): void {
  const taken = files.map(({ name }) => join(folder, name)).find((path) => !force && existsSync(path));
  if (taken !== undefined) throw outputExists(taken);
  try {
    mkdirSync(folder, { recursive: true });
  } catch (error) {
    throw outputFailed(folder, error instanceof Error ? error.message : String(error));
  }
  const added: string[] = [];
  try {
    for (const { name, content } of files) {
      const path = join(folder, name);
      const isNew = !existsSync(path);
      writeWhole(path, content);
      if (isNew) added.push(path);
    }
  } catch (error) {
    for (const path of added) rmSync(path, { force: true });
    throw error;
  }
}

/** Sends `content` to a path or, for '-', to standard output, waiting for slow readers. A signal ends it behind a file. */
export async function writeResult(path: string, content: string, io: CliIo): Promise<void> {
  if (path === '-') return print(io.stdout, content);
  writeWhole(path, content);
  await signalsHeard();
}

const isBrokenPipe = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'EPIPE';

/** Writes to a stream and waits until it was taken. A reader that went away is not an error. */
export function print(stream: NodeJS.WritableStream, content: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(content, (error) => {
      if (error && !isBrokenPipe(error)) {
        reject(outputFailed('Standard output', error.message));
      } else resolve();
    });
  });
}
