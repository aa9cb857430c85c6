// Writing results: whole or not at all, and never over an existing file unless asked.
import {
  accessSync,
  closeSync,
  existsSync,
  constants as fileAccess,
  fsyncSync,
  mkdirSync,
  openSync,
  readlinkSync,
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
  outputFolderIsFile,
  outputFolderMissing,
  outputIsFolder,
  outputIsInput,
  outputIsNoFolder,
  outputsShareFolder,
  outputTwice,
  outputUnnamed,
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
  const written = new Set<string>();
  const takes = (path: string): void => {
    const place = isDevice(path) ? null : whereTo(path);
    if (place !== null && written.has(place)) throw outputTwice(path);
    if (place !== null) written.add(place);
  };
  for (const path of [json, html, ...others]) {
    if (path === undefined || path === '-') continue;
    if (basename(path) === '' || path.endsWith('/')) throw outputUnnamed(path);
    if (!statSync(nearest(dirname(path))).isDirectory()) throw outputFolderIsFile(path);
    if (!existsSync(dirname(path))) throw outputFolderMissing(path);
    takes(path);
    if (!isDevice(path)) mayWriteIn(dirname(whereTo(path)), path);
    if (!existsSync(path) || isDevice(path)) continue;
    if (statSync(path).isDirectory()) throw outputIsFolder(path);
    if (read.has(realpathSync(path))) throw outputIsInput(path);
    if (!force) throw outputExists(path);
  }
  if (csv !== undefined && arrow !== undefined && whereTo(csv) === whereTo(arrow)) throw outputsShareFolder(csv);
  for (const folder of [csv, arrow]) {
    if (folder === undefined) continue;
    if (folder === '') throw outputUnnamed(folder);
    const above = nearest(folder);
    if (!statSync(above).isDirectory() && above !== folder) throw outputFolderIsFile(folder);
    takes(folder);
    if (!existsSync(folder)) {
      mayWriteIn(above, folder);
      continue;
    }
    if (!statSync(folder).isDirectory()) throw outputIsNoFolder(folder);
    const schema = join(folder, SCHEMA_FILE);
    if (!force && existsSync(schema)) throw outputExists(schema);
  }
}

/** The first folder above that exists, or the path itself. */
function nearest(path: string): string {
  let at = path;
  while (!existsSync(at) && dirname(at) !== at) at = dirname(at);
  return at;
}

/** Refuses what the system would refuse after the work. */
function mayWriteIn(folder: string, path: string): void {
  try {
    accessSync(folder, fileAccess.W_OK | fileAccess.X_OK);
  } catch (error) {
    throw outputFailed(path, reasonOf(error));
  }
}

/** Links in a row that are followed, as the system does. */
const LINKS = 40;

/** The file that a name stands for, whether it exists or not: a link stays a link. */
function whereTo(path: string): string {
  let at = resolve(path);
  for (let links = 0; links < LINKS; links++) {
    try {
      at = resolve(dirname(at), readlinkSync(at));
    } catch {
      break; // no link, or nothing at all
    }
  }
  const folder = dirname(at);
  return existsSync(folder) ? join(realpathSync(folder), basename(at)) : at;
}

/** "EACCES: permission denied, open '.x.json.123.partial'" → "permission denied (EACCES)": the message names the file itself. */
const reasonOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/^(E[A-Z0-9]+): (.*?), \w+( '.*)?$/s, '$2 ($1)');

/** Something to write into, such as /dev/null or a named pipe: it holds nothing that could be lost, and is not replaced. */
const isDevice = (path: string): boolean => {
  if (!existsSync(path)) return false;
  const found = statSync(path);
  return !found.isFile() && !found.isDirectory();
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
  const target = isDevice(path) ? path : whereTo(path);
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
    discard(temporary);
    if (isBrokenPipe(error)) return; // its reader has seen enough
    throw outputFailed(path, reasonOf(error));
  } finally {
    void releaseSignals();
  }
}

/** What was begun goes again; where even that fails the reason of the failure before it matters more. */
function discard(temporary: string): void {
  try {
    rmSync(temporary, { force: true });
  } catch {
    // The folder is gone, or was none.
  }
}

/** With the folders above it. Node's own way, `recursive`, never returns where the system refuses with ENOENT (/proc). */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  if (dirname(path) !== path) makeFolder(dirname(path));
  mkdirSync(path);
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
    makeFolder(folder);
  } catch (error) {
    throw outputFailed(folder, reasonOf(error));
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
