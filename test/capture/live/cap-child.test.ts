// The process that hosts `cap`, with a library that stands in for it: a burst faster than anybody reads, without root.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { ModuleKind, ScriptTarget, transpileModule } from 'typescript';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CAP_QUEUE_BYTES, CAPTURE_RING_BYTES } from '../../../src/limits.js';

const FRAME_BYTES = 60_000;
const RECORD_BYTES = 16 + FRAME_BYTES;
/** Frames of one burst: half as many again as the queue holds. */
const BURST = Math.ceil((1.5 * CAP_QUEUE_BYTES) / RECORD_BYTES);
/** What is beside the queue: the chunk being filled, the pipe, and the file header. */
const BESIDE_BYTES = (256 << 10) + (1 << 20);

const CAP = `exports.Cap = class {
  open(device, filter, ringBytes) {
    process.stderr.write('ring of ' + ringBytes + ' bytes\\n');
    return 'ETHERNET';
  }
  on(event, handler) {
    setTimeout(() => {
      for (let i = 0; i < ${BURST}; i++) handler(${FRAME_BYTES}, false);
      process.stderr.write('burst over\\n');
    });
  }
};`;

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cap-child-'));
  mkdirSync(join(folder, 'capture/live'), { recursive: true });
  mkdirSync(join(folder, 'node_modules/cap'), { recursive: true });
  for (const name of ['capture/live/cap-child', 'limits']) {
    const compilerOptions = { module: ModuleKind.ESNext, target: ScriptTarget.ES2023 };
    const { outputText } = transpileModule(readFileSync(`src/${name}.ts`, 'utf8'), { compilerOptions });
    writeFileSync(join(folder, `${name}.js`), outputText);
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'node_modules/cap/package.json'), '{ "type": "commonjs" }');
  writeFileSync(join(folder, 'node_modules/cap/index.js'), CAP);
});
afterAll(() => rmSync(folder, { recursive: true }));

test('CAP_QUEUE_BYTES and CAPTURE_RING_BYTES: what nobody reads in time is dropped and counted', async () => {
  const child = spawn(process.execPath, [join(folder, 'capture/live/cap-child.js'), 'eth0', '', '']);
  let words = '';
  await new Promise<void>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      words += text;
      if (words.includes('burst over')) resolve();
    });
  });
  child.stdin.end();
  const [capture] = await Promise.all([buffer(child.stdout), once(child.stderr, 'end')]);
  const kept = (capture.length - 24) / RECORD_BYTES;
  expect(words).toContain(`ring of ${CAPTURE_RING_BYTES} bytes`);
  expect(kept * RECORD_BYTES).toBeGreaterThan(CAP_QUEUE_BYTES - BESIDE_BYTES);
  expect(kept * RECORD_BYTES).toBeLessThan(CAP_QUEUE_BYTES + BESIDE_BYTES);
  expect(words.match(/(\d+) frames dropped by the queue\n$/)?.[1]).toBe(String(BURST - kept));
});
