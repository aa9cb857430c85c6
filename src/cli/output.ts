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
import { basename, dirname, join } from 'node:path';
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

/**
 * Writes `content` to `path` under a temporary name beside it and renames: readers see the old file or the whole new
 * one. A link stays, what it points to is replaced. Throws InputError with the system's reason (disk full, no permission)
 * and leaves nothing behind.
 */
export function writeWhole(path: string, content: string | Uint8Array): void {
  const target = existsSync(path) ? realpathSync(path) : path;
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.partial`);
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
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

/** Sends `content` to a path or, for '-', to standard output, waiting for slow readers. */
export async function writeResult(path: string, content: string, io: CliIo): Promise<void> {
  if (path !== '-') return writeWhole(path, content);
  await print(io.stdout, content);
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
