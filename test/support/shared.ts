// The one place that knows about the recordings kept beside the project. They are large and stay outside; tests that
// want them skip when they are absent and say so. In CI they must be there.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';

const root = process.env['MIGSCOPE_SHARED'] ?? fileURLToPath(new URL('../../../shared', import.meta.url));

/** Path of a file under the shared recordings, e.g. sharedCapture('precopy-7.2/src.pcap.gz'). */
export const sharedCapture = (path: string): string => `${root}/captures/${path}`;

export const haveShared = existsSync(`${root}/captures`);

/** describe() that skips, loudly, where the shared recordings are absent. */
export const describeShared: typeof describe = (() => {
  if (haveShared) return describe;
  if (process.env['CI']) throw new Error('The shared recordings are missing; CI must run the tests that need them.');
  console.warn('SKIPPED: tests on the shared recordings (not found beside the project; set MIGSCOPE_SHARED).');
  return describe.skip as typeof describe;
})();
