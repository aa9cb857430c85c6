import { Writable } from 'node:stream';
import { describe, expect, test } from 'vitest';
import type { CaptureState, ChannelView, LiveView } from '../../src/cli/live-view.js';
import { picture, plainLine, Screen, sparkline } from '../../src/cli/screen.js';
import type { MigrationSnapshot } from '../../src/migration-stream/results.js';

const ESC = '\u001b';

const capture: CaptureState = {
  interface: 'eth0',
  engine: 'tcpdump',
  accuracy: 'kernel time stamps, whole lengths, losses counted as they happen',
  lost: 0,
  snapLength: null,
  cutFrames: 0,
  narrowedNs: null,
  alerts: [],
  recording: null,
  ending: false,
};

const channel: ChannelView = {
  label: 'main',
  rate: 117.5e6,
  goodput: 116e6,
  retransmittedSegments: 12,
  retransmittedShare: 0.001,
  rttNs: 410e3,
  windowBytes: 3.1e6,
  inFlightBytes: 1.2e6,
  limit: 'congestion',
};

const migration: MigrationSnapshot = {
  id: 0,
  source: '10.0.0.1',
  destination: '10.0.0.2',
  port: 49152,
  encryption: 'none',
  outcome: null,
  phase: 'precopy',
  startNs: 0,
  lastDataNs: 42e9,
  pageSize: 4096,
  ramPages: 1_048_576,
  pages: { normal: 900_000, zero: 200_000, xbzrle: 0, compressed: 0 },
  bytes: 3.7e9,
  round: { index: 3, startNs: 40e9, pages: 20_000, bytes: 82e6, swept: 0.3 },
  rounds: [],
  channels: [],
};

const view: LiveView = {
  elapsedNs: 3_725e9,
  capture,
  frames: 1_234_567,
  wireBytes: 4.1e9,
  migration,
  migrationNs: 42e9,
  rate: 117.5e6,
  goodput: 116e6,
  goodputs: [10e6, 60e6, 110e6, 116e6],
  forecast: {
    pagesLeft: { low: 40_000, likely: 46_000, high: 52_000 },
    roundNs: { low: 1.4e9, likely: 1.6e9, high: 1.9e9 },
    dirtyPages: { low: 8_000, likely: 9_000, high: 11_000 },
    dirtyAtLeast: 7_000,
    sentPages: { low: 25_000, likely: 28_000, high: 29_000 },
    endNs: { low: 2.1e9, likely: 2.6e9, high: 4.2e9 },
  },
  channels: [channel],
};

describe('the picture', () => {
  test('fits 80 columns and puts what was lost first', () => {
    expect(picture(view, 80, 24)).toEqual([
      'migscope live · eth0 · tcpdump                                          1:02:05',
      'lost       0 · 1,234,567 frames seen, 4.10 GB',
      'precision  kernel time stamps, whole lengths, losses counted as they happen',
      '',
      'migration  pre-copy, round 3 at 30 % · 42.0 s · 10.0.0.1 → 10.0.0.2 port 49152',
      'pages      1,100,000 sent · 46,000 (40,000 … 52,000) left of this round',
      'rate       940 Mbit/s · goodput 928 Mbit/s   ⣰⣿',
      'dirtying   9,000 (8,000 … 11,000) pages/s = 295 Mbit/s, 32 % of what is sent',
      'converges  yes, in 2.60 s (2.10 s … 4.20 s)',
      '',
      'channel          rate     goodput      retransm.      RTT  held back by',
      'main       940 Mbit/s  928 Mbit/s    12 (0.10 %)   410 µs  congestion window',
    ]);
  });

  test('has room for window and flight at 160 columns', () => {
    const lines = picture(view, 160, 24);
    expect(lines[5]).toBe(
      'pages      1,100,000 sent · 46,000 (40,000 … 52,000) left of this round · 900,000 normal, 200,000 zero · guest 4 GiB',
    );
    expect(lines.slice(-2)).toEqual([
      'channel          rate     goodput      retransm.      RTT    window  in flight  held back by',
      'main       940 Mbit/s  928 Mbit/s    12 (0.10 %)   410 µs   3.10 MB    1.20 MB  congestion window',
    ]);
  });

  test('never leaves the terminal, however many channels and alerts', () => {
    const crowded: LiveView = {
      ...view,
      capture: { ...capture, alerts: ['x'.repeat(300)], recording: { path: 'y'.repeat(200), bytes: 1, files: 3 } },
      channels: Array.from({ length: 40 }, (_, index) => ({ ...channel, label: `multifd ${index}` })),
    };
    for (const [width, rows] of [
      [40, 10],
      [80, 24],
      [160, 50],
    ] as const) {
      const lines = picture(crowded, width, rows);
      expect(lines.length).toBeLessThanOrEqual(rows);
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(width);
    }
    expect(picture(crowded, 80, 24).at(-1)).toBe('… and 30 more');
  });

  test('names what was lost, its share and the way out', () => {
    expect(picture({ ...view, capture: { ...capture, lost: 12_000 } }, 160, 24)[1]).toBe(
      'lost       12,000 frames (0.96 %) by the kernel; try --snaplen 128 (rounds become estimates) · 1,234,567 frames seen, 4.10 GB',
    );
    expect(picture({ ...view, capture: { ...capture, lost: 12_000, snapLength: 128 } }, 80, 24).slice(1, 3)).toEqual([
      'lost       12,000 frames (0.96 %) by the kernel · 1,234,567 frames seen, 4.10 GB',
      'precision  frames cut to 128 bytes: rounds are estimates · kernel time stamps, …',
    ]);
    expect(picture({ ...view, capture: { ...capture, lost: null } }, 80, 24)[1]).toMatch(/^lost {7}not known · /);
  });

  test.each([
    [{ low: 2e9, likely: 3e9, high: Infinity }, 'perhaps, in 3.00 s (2.00 s … never)'],
    [{ low: 2e9, likely: Infinity, high: Infinity }, 'doubtful: 2.00 s at best, never as it goes now'],
    [{ low: Infinity, likely: Infinity, high: Infinity }, 'no: dirtying keeps up with sending'],
  ])('says how sure convergence is: %#', (endNs, text) => {
    const lines = picture({ ...view, forecast: { ...view.forecast!, endNs } }, 80, 24);
    expect(lines).toContain(`converges  ${text}`);
  });

  test('says nothing of how far a round is where that is not known', () => {
    const unknown = { ...migration, round: { ...migration.round!, swept: null } };
    expect(picture({ ...view, migration: unknown }, 80, 24)[4]).toMatch(/^migration {2}pre-copy, round 3 · 42\.0 s/);
  });

  test('waits without a migration, with the connections there are', () => {
    const lines = picture(
      {
        ...view,
        migration: null,
        migrationNs: null,
        forecast: null,
        channels: [{ ...channel, label: 'to 10.0.0.8:22' }],
      },
      80,
      24,
    );
    expect(lines[4]).toBe('migration  none recognised yet');
    expect(lines.at(-1)).toMatch(/^to 10\.0\.0\.8:22 +940 Mbit\/s/);
  });

  test('says what the second round has shown of dirtying so far', () => {
    const soFar = { ...view.forecast!, dirtyPages: null, endNs: null };
    const lines = picture({ ...view, forecast: soFar }, 80, 24);
    expect(lines).toContain('dirtying   at least 7,000 pages/s; known at the end of this round');
    expect(lines).toContain('converges  this round ends in 1.60 s (1.40 s … 1.90 s); the rest is known later');
  });

  test('counts no pages in cut frames', () => {
    const lines = picture({ ...view, forecast: null, capture: { ...capture, snapLength: 128, cutFrames: 9 } }, 80, 24);
    expect(lines).toContain('pages      cannot be counted: frames are cut');
    expect(lines.join('\n')).not.toMatch(/converges|dirtying/);
  });

  test('forecasts nothing once it is over', () => {
    const lines = picture({ ...view, migration: { ...migration, outcome: 'completed' } }, 80, 24);
    expect(lines[4]).toMatch(/^migration {2}completed · 42\.0 s/);
    expect(lines.join('\n')).not.toMatch(/converges|dirtying/);
  });
});

test('the plain line says the same on one line', () => {
  expect(plainLine(view)).toBe(
    '1:02:05 | lost 0, seen 1,234,567 frames | pre-copy, round 3 at 30 % | sent 1,100,000 pages | left 46,000 (40,000 … 52,000) | ' +
      'rate 940 Mbit/s | goodput 928 Mbit/s | dirtying 32 % | converges yes, in 2.60 s (2.10 s … 4.20 s) | ' +
      'main: retransmitted 12 RTT 410 µs held back by congestion window',
  );
});

test('untrusted names cannot steer the terminal', () => {
  const hostile = { ...migration, source: `${ESC}[2J`, destination: 'a\nb' };
  const lines = picture({ ...view, migration: hostile }, 160, 24);
  for (const mark of [ESC, '\n']) expect(lines.join('')).not.toContain(mark);
});

test('the sparkline fills from below, two values a cell, scaled to the largest', () => {
  expect(sparkline([0, 1, 2, 3, 4], 8)).toBe('⢀⣴⡇');
  expect(sparkline([1, 2, 3, 4, 4, 4], 2)).toBe('⣾⣿');
  expect(sparkline([0, 0], 4)).toBe('');
});

describe('a terminal', () => {
  class Terminal extends Writable {
    readonly isTTY = true;
    readonly columns = 80;
    readonly rows = 24;
    readonly writes: string[] = [];
    override _write(chunk: Buffer, _: string, done: () => void): void {
      this.writes.push(chunk.toString());
      done();
    }
  }

  test('gets one write a picture, is never cleared as a whole, and is given back', () => {
    const terminal = new Terminal();
    const screen = new Screen(terminal, { NO_COLOR: '1' });
    screen.show(view);
    screen.show(view);
    screen.end();
    screen.end();
    expect(terminal.writes).toHaveLength(3);
    const [first, second] = terminal.writes;
    expect(first).toBe(`${ESC}[?1049h${ESC}[?25l${second}`);
    expect(second?.startsWith(`${ESC}[?2026h${ESC}[Hmigscope live`)).toBe(true);
    expect(second?.endsWith(`${ESC}[J${ESC}[?2026l`)).toBe(true);
    expect(second).not.toContain(`${ESC}[2J`);
    expect(terminal.writes[2]).toBe(`${ESC}[?25h${ESC}[?1049l`);
  });

  test('that is dumb gets plain lines', () => {
    const terminal = new Terminal();
    new Screen(terminal, { TERM: 'dumb' }).show(view);
    expect(terminal.writes).toEqual([`${plainLine(view)}\n`]);
  });
});
