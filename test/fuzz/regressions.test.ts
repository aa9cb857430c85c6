// What fuzzing found, each as small as it gets.
import { expect, test } from 'vitest';
import { Analysis, type Results } from '../../src/analyze.js';
import { batchOf, ethernet, frame, ipv4, tcp } from '../support/frames.js';
import { ascii, be32, PAGE, range, stream } from '../support/migration-stream.js';

/** One connection whose client sends `bytes` and ends; frame `i` is stamped `stamp(i)`, the capture lost number `lost`. */
function sent(bytes: Uint8Array, stamp = (i: number): number => i * 10_000, lost = -1): Results {
  const client = (offset: number, flags: string, payload: Uint8Array = new Uint8Array(0)): Uint8Array =>
    frame(ethernet(), ipv4(), tcp({ seq: 1 + offset, ack: 1, flags }, payload));
  const frames = [client(-1, 'S')];
  for (let at = 0; at < bytes.length; at += 1400) frames.push(client(at, 'A', bytes.subarray(at, at + 1400)));
  frames.push(client(bytes.length, 'FA'));
  const analysis = new Analysis();
  const timed = frames.map((each, i) => ({ bytes: each, tNs: stamp(i) }));
  analysis.push(batchOf(timed.filter((_, i) => i !== lost)));
  return analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
}

const memory = (pages: number) =>
  stream()
    .header()
    .ramStart([{ name: 'pc.ram', length: 64 * PAGE }])
    .part((ram) => ram.pages('pc.ram', range(0, pages)));

test('a damaged description that announces more than follows takes nothing from the pages before it', () => {
  const pages = memory(8).end().eof().build();
  const lying = memory(8)
    .end()
    .eof()
    .raw([6], be32(500_000), ascii(`{"devices${' '.repeat(6000)}`))
    .build();
  const inside = 3 + Math.floor(pages.length / 1400);
  const [migration] = sent(lying, undefined, inside).migration.migrations;
  const honest = sent(memory(8).end().eof().build()).migration.migrations[0]!;
  expect(migration!.pages.normal).toBe(8);
  expect(migration!.bytes.ramRecords).toBe(honest.bytes.ramRecords);
});

test('a last page that is cut off counts as far as it came', () => {
  const whole = memory(8).build();
  const [migration] = sent(whole.subarray(0, whole.length - 13 - 1000)).migration.migrations;
  const [full] = sent(whole).migration.migrations;
  expect(full!.bytes.ramRecords - migration!.bytes.ramRecords).toBe(1000);
});

test('rounds end no sooner than they begin, although time steps back', () => {
  const stepping = memory(40)
    .part((ram) => ram.pages('pc.ram', range(0, 40)))
    .part((ram) => ram.pages('pc.ram', range(0, 40)));
  for (const at of [1, 20, 60, 130]) {
    const { rounds } = sent(stepping.build(), (i) => (i < at ? 5e9 + i * 1e4 : i * 1e4)).migration.migrations[0]!;
    for (const round of rounds) expect(round.endNs, `back at ${at}`).toBeGreaterThanOrEqual(round.startNs);
  }
});
