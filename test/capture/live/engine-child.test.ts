// Engines played by a shell: what a capture program may say and do, without a network and without a privilege.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineChild } from '../../../src/capture/live/engine-child.js';
import type { Engine } from '../../../src/capture/live/engines.js';
import { ENGINE_TEXT_CHARACTERS } from '../../../src/limits.js';

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'engine-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

const request = { interface: 'any', filter: null, snapLength: null };

/** An engine that runs a shell script. */
const played = (script: string): Engine => ({
  name: 'tcpdump',
  packageName: 'none',
  accuracy: '',
  clock: 'kernel',
  locate: () => '/bin/sh',
  arguments: () => ['-c', script],
  ready: /^ready$/m,
  lost: /(\d+) lost/,
  countSignal: null,
  latencyMs: 0,
  stopBy: 'SIGTERM',
});

/** Why a script, started as an engine, ended; its output is read and thrown away. */
async function endOf(script: string): Promise<{ reason: string | undefined; lost: number | null }> {
  const child = await EngineChild.start(played(script), request);
  child.capture.resume();
  return { reason: (await child.ended())?.message, lost: child.lost };
}

const message = (start: Promise<unknown>): Promise<string> => start.then(() => '', String);

describe.skipIf(process.platform === 'win32')('an engine', () => {
  test('that dies is quoted', async () => {
    const { reason } = await endOf('echo ready >&2; echo the card is on fire >&2; exit 3');
    expect(reason).toBe('tcpdump ended without being asked (the card is on fire).');
  });

  test('that is killed is not quoted', async () => {
    expect((await endOf('echo ready >&2; kill -9 $$')).reason).toBe('tcpdump ended without being asked (SIGKILL).');
  });

  test('that never stops talking is remembered by its newest words only, and its counts are all heard', async () => {
    const line = 'x'.repeat(99);
    const chatter = Math.ceil((3 * ENGINE_TEXT_CHARACTERS) / line.length);
    const { lost } = await endOf(
      `echo ready >&2; echo 7 lost >&2; for i in $(seq ${chatter}); do echo ${line} >&2; done; exit 1`,
    );
    expect(lost).toBe(7);
    const { reason } = await endOf(
      `echo ready >&2; head -c ${4 * ENGINE_TEXT_CHARACTERS} /dev/zero | tr '\\0' a >&2; echo z >&2; exit 1`,
    );
    expect(reason).toBe(
      `tcpdump ended without being asked (${'a'.repeat(ENGINE_TEXT_CHARACTERS - 2)}z).`, // and the line's end
    );
  });

  test('that does not start says why', async () => {
    expect(await message(EngineChild.start(played('echo no ring for you >&2; exit 1'), request))).toContain(
      'tcpdump could not start capturing: no ring for you.',
    );
  });

  test.each(["unknown host 'nowhere'", 'syntax error', 'expression rejects all packets', 'illegal token: @'])(
    'that rejects a filter is no broken engine: %s',
    async (words) => {
      const start = EngineChild.start(played(`echo "tcpdump: ${words}" >&2; exit 1`), { ...request, filter: 'host x' });
      expect(await message(start)).toBe(`UsageError: The capture filter "host x" is not valid: ${words}.`);
    },
  );

  test('that this user may not run is known by its file', async () => {
    const file = join(folder, 'engine');
    writeFileSync(file, '#!/bin/sh\n');
    chmodSync(file, 0o600);
    const engine = { ...played(''), locate: () => file };
    expect(await message(EngineChild.start(engine, request))).toContain('tcpdump may not be run by this user');
  });

  test('that ends is waited for, whoever watched over it', async () => {
    const child = await EngineChild.start(played('echo ready >&2; exec sleep 60'), request);
    child.capture.resume();
    child.stop();
    expect(await child.ended()).toBeNull();
  });
});
