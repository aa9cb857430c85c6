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
import { basename, dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { outputExists, outputFailed, outputFolderMissing } from '../errors.js';
import type { CliIo } from './io.js';

/** Refuses early, before minutes of work, what could not be written later. '-' is standard output. */
export function checkTargets(paths: readonly (string | undefined)[], force: boolean): void {
  for (const path of paths) {
    if (path === undefined || path === '-') continue;
    if (!existsSync(dirname(path))) throw outputFolderMissing(path);
    if (!force && existsSync(path) && !isDevice(path)) throw outputExists(path);
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
export function writeWhole(path: string, content: string | Uint8Array): void {
  const target = existsSync(path) ? realpathSync(path) : path;
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
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
    throw outputFailed(path, error instanceof Error ? error.message : String(error));
  } finally {
    void releaseSignals();
  }
}

/** Makes a folder for a set of tables; an existing one is fine. Throws InputError when it cannot be made. */
export function makeFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw outputFailed(path, error instanceof Error ? error.message : String(error));
  }
}

/** Sends `content` to a path or, for '-', to standard output, waiting for slow readers. A signal ends it behind a file. */
export async function writeResult(path: string, content: string, io: CliIo): Promise<void> {
  if (path === '-') return print(io.stdout, content);
  writeWhole(path, content);
  await signalsHeard();
}

/** Writes to a stream and waits until it was taken. A reader that went away is not an error. */
export function print(stream: NodeJS.WritableStream, content: string): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(content, (error) => {
      if (error && (error as NodeJS.ErrnoException).code !== 'EPIPE') {
        reject(outputFailed('Standard output', error.message));
      } else resolve();
    });
  });
}
