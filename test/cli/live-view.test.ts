import { describe, expect, test } from 'vitest';
import type { ChannelSnapshot, Snapshot } from '../../src/analyze.js';
import { EndWatch, parseRotation, parseSnapLength, parseTime } from '../../src/cli/live.js';
import { type CaptureState, LiveMeter } from '../../src/cli/live-view.js';
import type { MigrationSnapshot } from '../../src/migration-stream/results.js';

const capture: CaptureState = {
  interface: 'eth0',
  engine: 'tcpdump',
  accuracy: '',
  lost: 0,
  snapLength: null,
  cutFrames: 0,
  narrowedNs: null,
  alerts: [],
  recording: null,
  ending: false,
};

const channel = (connection: number, uniqueBytes: number, payloadBytes = uniqueBytes): ChannelSnapshot => ({
  connection,
  kind: 'multifd',
  index: connection,
  sender: { address: '10.0.0.1', port: 40_000 },
  receiver: { address: '10.0.0.2', port: 49152 },
  payloadBytes,
  uniqueBytes,
  retransmittedSegments: 0,
  retransmittedBytes: payloadBytes - uniqueBytes,
  rttNs: null,
  windowBytes: null,
  inFlightBytes: null,
  limit: null,
});

const migration = (outcome: MigrationSnapshot['outcome'], lastDataNs: number, id = 0): MigrationSnapshot => ({
  id,
  source: '10.0.0.1',
  destination: '10.0.0.2',
  port: 49152,
  encryption: 'none',
  outcome,
  phase: 'precopy',
  startNs: 0,
  lastDataNs,
  pageSize: 4096,
  ramPages: 1000,
  pages: { normal: 0, zero: 0, xbzrle: 0, compressed: 0 },
  bytes: 0,
  round: null,
  rounds: [],
  channels: [],
});

const snapshot = (channels: ChannelSnapshot[], going: MigrationSnapshot | null = null): Snapshot => ({
  nowNs: 0,
  frames: 0,
  wireBytes: 0,
  anomalies: 0,
  migration: going,
  channels,
});

describe('the meter', () => {
  test('takes rates from differences, by channel and in all', () => {
    const meter = new LiveMeter(0, 300e6);
    const first = meter.view(snapshot([channel(1, 5000)]), capture, 1000);
    expect([first.rate, first.goodput, first.channels[0]?.rate]).toEqual([null, null, null]);
    const second = meter.view(snapshot([channel(1, 6000, 6500), channel(2, 99)]), capture, 1500);
    expect(second.channels.map(({ rate, goodput }) => [rate, goodput])).toEqual([
      [3000, 2000],
      [null, null], // seen for the first time: its bytes may be older than this tick
    ]);
    expect([second.rate, second.goodput]).toEqual([3000, 2000]);
    const third = meter.view(snapshot([channel(1, 6000, 6500), channel(2, 199)]), capture, 2500);
    expect(third.channels.map(({ goodput }) => goodput)).toEqual([0, 100]);
    expect(third.goodputs).toEqual([2000, 100]);
  });

  test('keeps a bounded history', () => {
    const meter = new LiveMeter(0, 300e6);
    let view = meter.view(snapshot([channel(1, 0)]), capture, 0);
    for (let tick = 1; tick < 1000; tick++) view = meter.view(snapshot([channel(1, tick)]), capture, tick * 1000);
    expect(view.goodputs.length).toBeLessThan(200);
  });
});

describe('the end of a migration', () => {
  test('is waited for while none is there', () => {
    expect(new EndWatch().isOver(snapshot([]), 1e9)).toBe(false);
  });

  test('comes after three quiet seconds behind the end mark; a late goodbye counts', () => {
    const watch = new EndWatch();
    expect(watch.isOver(snapshot([], migration(null, 10)), 0)).toBe(false);
    expect(watch.isOver(snapshot([], migration('completed', 20)), 500)).toBe(false);
    expect(watch.isOver(snapshot([], migration('completed', 20)), 3400)).toBe(false);
    expect(watch.isOver(snapshot([], migration('completed', 30)), 3600)).toBe(false);
    expect(watch.isOver(snapshot([], migration('completed', 30)), 6500)).toBe(false);
    expect(watch.isOver(snapshot([], migration('completed', 30)), 6600)).toBe(true);
  });

  test('comes after fifteen seconds without data, however long it took before', () => {
    const watch = new EndWatch();
    for (let ms = 0; ms <= 60_000; ms += 1000) expect(watch.isOver(snapshot([], migration(null, ms)), ms)).toBe(false);
    expect(watch.isOver(snapshot([], migration(null, 60_000)), 74_900)).toBe(false);
    expect(watch.isOver(snapshot([], migration(null, 60_000)), 75_000)).toBe(true);
  });

  test('of one attempt is not the end of the next', () => {
    const watch = new EndWatch();
    watch.isOver(snapshot([], migration('cancelled', 10)), 0);
    expect(watch.isOver(snapshot([], migration(null, 20, 1)), 900)).toBe(false);
    expect(watch.isOver(snapshot([], migration(null, 30, 1)), 2000)).toBe(false);
  });
});

describe('option values', () => {
  test.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['2', 2000],
    ['1.5m', 90_000],
    ['1h', 3_600_000],
  ])('%s is a time', (text, ms) => {
    expect(parseTime(text)).toBe(ms);
  });

  test.each(['', '0s', '-1s', '5d', '9999h', 's'])('"%s" is no time', (text) => {
    expect(() => parseTime(text)).toThrow(/Expected a time/);
  });

  test('a rotation is a size or a time', () => {
    expect(parseRotation('100MB')).toEqual({ bytes: 100e6, ns: null });
    expect(parseRotation('1GiB')).toEqual({ bytes: 2 ** 30, ns: null });
    expect(parseRotation('10m')).toEqual({ bytes: null, ns: 600e9 });
    expect(() => parseRotation('10kB')).toThrow(/at least 100kB/);
    expect(() => parseRotation('often')).toThrow(/Expected a size .* or a time/);
  });

  test('a snap length holds at least the headers', () => {
    expect(parseSnapLength('128')).toBe(128);
    expect(() => parseSnapLength('20')).toThrow(/54/);
  });
});
