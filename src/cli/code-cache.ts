// The built program as V8 compiled it: compiling it anew takes as long as Node itself does to start.
//
// The build makes scripts NAME.cjs of what every command needs, analyses a capture, and keeps beside each script what V8 had
// compiled of it by then, as NAME.cache. V8 takes that back when its version and switches are the same, and otherwise
// compiles the script as it would have.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

type Exports = Record<string | symbol, unknown>;
type Wrapped = (
  exports: Exports,
  require: (name: string) => unknown,
  importChunk: (name: string) => Promise<unknown>,
  file: string,
) => void;

const requireOutside = createRequire(import.meta.url);
const folder = dirname(fileURLToPath(import.meta.url));
const loaded = new Map<string, Exports>();

/** The scripts that were loaded, by name. */
export const scripts = new Map<string, Script>();

/** Parts of Node that take long to load and are rarely needed: they are loaded when they are first used. */
const HEAVY = new Set(['node:child_process', 'node:crypto', 'node:fs/promises', 'node:worker_threads']);

/** What the script `name` exports; it runs once. */
export function load(name: string): Exports {
  const known = loaded.get(name);
  if (known) return known;
  const filename = `${folder}/${name}.cjs`;
  const cachedData = cacheOf(name);
  // The scripts are ASCII, and 'latin1' is the fastest way to read that.
  const script = new Script(
    `((exports, require, importChunk, __filename) => {${readFileSync(filename, 'latin1')}\n})`,
    {
      filename,
      ...(cachedData ? { cachedData } : {}),
    },
  );
  const exports: Exports = {};
  scripts.set(name, script);
  loaded.set(name, exports);
  (script.runInThisContext() as Wrapped)(exports, requireFrom, importChunk, filename);
  return exports;
}

function requireFrom(name: string): unknown {
  if (HEAVY.has(name)) return new Proxy({}, { get: (_, key) => (requireOutside(name) as Exports)[key] });
  return name.startsWith('./') ? load(name.slice('./'.length, -'.js'.length)) : requireOutside(name);
}

/** A script cannot import by itself once its code comes from a cache. */
const importChunk = (name: string): Promise<unknown> => import(name);

function cacheOf(name: string): Buffer | null {
  try {
    return readFileSync(`${folder}/${name}.cache`);
  } catch {
    return null; // slower is all it is then
  }
}
