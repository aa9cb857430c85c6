// What is said of a migration of which the capture holds only a part: figures are bounded, unknown, or true.
import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { FLAG_ACK, FLAG_FIN } from '../../src/decode/rows.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { countingRules } from '../../src/migration-stream/counting.js';
import { Generations, MAIN_LANE } from '../../src/migration-stream/generations.js';
import { MigrationState } from '../../src/migration-stream/migration.js';
import { PageHistory } from '../../src/migration-stream/pages.js';
import { PAGE_NORMAL } from '../../src/migration-stream/records.js';
import type { Migration, MigrationResults } from '../../src/migration-stream/results.js';
import { BLOCK_STRIDE, Rounds } from '../../src/migration-stream/rounds.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { MultifdSink } from '../../src/migration-stream/sinks.js';
import {
  be16,
  be32,
  be64,
  bytes,
  PAGE,
  range,
  type StreamBuilder,
  smallMigration,
  str8,
  stream,
} from '../support/migration-stream.js';
import { type Frame, feed, syn } from '../support/reassembly.js';

/** Rounds of a guest of one large block, number 0, and a small one behind it. */
function guest(): { rounds: Rounds; section: (tNs: number, pages: readonly number[]) => void } {
  const history = new PageHistory();
  history.size(100_000 * PAGE);
  const rounds = new Rounds(history);
  const section = (tNs: number, pages: readonly number[]): void => {
    rounds.section(tNs, 'part');
    for (const page of pages) {
      const block = Math.floor((page * PAGE) / BLOCK_STRIDE);
      rounds.page(tNs, block, page * PAGE - block * BLOCK_STRIDE, PAGE_NORMAL, PAGE + 8);
    }
    rounds.endSection(tNs);
  };
  return { rounds, section };
}

/** A page of the small block. */
const small = (page: number): number => BLOCK_STRIDE / PAGE + page;

describe('rounds around a gap', () => {
  test('a scan that comes around between two sections has not come around within the second', () => {
    // The gap hides pages 3000 to 5000, so no page shows that the second round sends some of them again.
    const { rounds, section } = guest();
    section(0, range(0, 3000));
    rounds.blind(64);
    section(1e9, [...range(5000, 8000), small(0)]);
    section(2e9, range(3000, 4000));
    section(3e9, range(4000, 4800));
    const boundaries = rounds.finish().map(({ boundary, startNs }) => `${boundary} ${startNs / 1e9}s`);
    expect(boundaries).toEqual(['first-pass 0s', 'scan-lap 2s']);
  });

  test('a round that is seen to have begun in the section behind a gap may have begun in the gap', () => {
    const { rounds, section } = guest();
    section(0, range(0, 100));
    rounds.blind(64);
    section(1e9, range(50, 60));
    section(2e9, range(55, 58));
    expect(rounds.finish().map(({ confidence }) => confidence)).toEqual([0.5, 0.5, 0.95]);
  });

  test('a first pass whose beginning was lost is not known to be whole', () => {
    const { rounds, section } = guest();
    rounds.blind(64);
    section(0, range(0, 100));
    expect(rounds.finish()[0]!.confidence).toBe(0.5);
  });
});

describe('rounds of channels that do not keep step', () => {
  test('pages that waited in the buffers of slow channels when the guest stopped belong to the round before the last', () => {
    // The mark of the stop comes by the main channel at once, the pages before it later; then pages repeat, so those were late.
    const { rounds, section } = guest();
    rounds.unordered();
    section(0, range(0, 1000));
    section(1e9, range(500, 520));
    for (const page of range(520, 600)) rounds.page(2e9, 0, page * PAGE, PAGE_NORMAL, PAGE + 8);
    rounds.finalSection(3e9);
    rounds.endSection(3e9);
    section(4e9, range(550, 560));
    section(5e9, range(560, 570));
    const [, second, last, ...more] = rounds.finish();
    expect(second).toMatchObject({ index: 2, startNs: 1e9, boundary: 'page-repeat', pages: { normal: 100 } });
    expect(last).toMatchObject({ index: 3, startNs: 4e9, boundary: 'section-end', pages: { normal: 20 } });
    expect(more).toEqual([]);
  });

  test('a channel joined midway may be out of step: no round is sure', () => {
    const history = new PageHistory();
    const rounds = new Rounds(history);
    const generations = new Generations(rounds);
    generations.join(true);
    generations.page(1, 0, 0, 0, PAGE_NORMAL, PAGE);
    generations.mark(1);
    generations.mark(MAIN_LANE);
    generations.page(1, 1e9, 0, 0, PAGE_NORMAL, PAGE);
    generations.finish();
    expect(rounds.finish().map(({ confidence }) => confidence)).toEqual([0.5, 0.5]);
  });
});

/** Frames of several connections between the same hosts; connection i has directions 2i and 2i + 1. */
function analyse(frames: readonly Frame[]): MigrationResults & { codes: string[] } {
  const log = new AnomalyLog();
  const identity = (connection: number) => ({
    client: { address: '10.0.0.1', port: 40_000 + connection },
    server: { address: '10.0.0.2', port: 49_152 },
    startNs: 0,
  });
  const streams = new MigrationStreams(log, { identity });
  const reassembler = new Reassembler(streams.claim, log);
  feed(reassembler, frames);
  reassembler.finish();
  return { ...streams.finish(), codes: log.finish().map(({ code }) => code) };
}

const MEMORY = [
  { name: 'pc.ram', length: 400 * PAGE },
  { name: 'vga.vram', length: 20 * PAGE },
];
const pong = (value: number): Uint8Array => bytes(be16(2), be16(4), be32(value));

describe('frames that the capture lost', () => {
  const whole = smallMigration().build();
  const closed: Frame = { direction: 0, offset: whole.length, flags: FLAG_FIN | FLAG_ACK };

  test('an orderly end behind a lost one is no cancelling', () => {
    const { migrations } = analyse([
      syn(0),
      { direction: 0, offset: 0, payload: whole.slice(0, 12_000) },
      { direction: 1, offset: 0, ack: whole.length },
      closed,
    ]);
    expect(migrations.map(({ outcome }) => outcome)).toEqual(['incomplete']);
  });

  test('a PONG whose PING was lost, or comes before it in the capture, contradicts nothing', () => {
    const start = stream().header().command(1).ping(1);
    const at = start.build().length;
    const rest = start
      .ramStart(MEMORY)
      .part((ram) => ram.pages('pc.ram', range(0, 20)))
      .build();
    const answered: Frame = { direction: 1, offset: 0, payload: pong(1) };
    const swapped = analyse([
      syn(0),
      { direction: 0, offset: 0, payload: rest.slice(0, at - 8) },
      answered,
      { direction: 0, offset: at - 8, payload: rest.slice(at - 8) },
    ]);
    expect(swapped.codes).not.toContain('stream/invariant');
    const lost = analyse([
      syn(0),
      { direction: 0, offset: 0, payload: rest.slice(0, at - 8) },
      answered,
      { direction: 1, offset: 8, ack: rest.length },
      { direction: 0, offset: at, payload: rest.slice(at) },
    ]);
    expect(lost.codes).not.toContain('stream/invariant');
  });

  test('pages lost behind the last page seen count among those that may be lost', () => {
    const pages = stream()
      .header()
      .ramStart(MEMORY)
      .part((ram) => ram.pages('pc.ram', range(0, 20)))
      .build();
    const kept = pages.length - 10 * (PAGE + 8);
    const { migrations } = analyse([
      syn(0),
      { direction: 0, offset: 0, payload: pages.slice(0, kept) },
      { direction: 1, offset: 0, ack: pages.length },
    ]);
    const [migration] = migrations;
    const missing = 20 - migration!.pages.normal;
    expect(missing).toBeGreaterThan(0);
    expect(migration!.stream.lostPages!.atLeast).toBeLessThanOrEqual(missing);
    expect(migration!.stream.lostPages!.atMost).toBeGreaterThanOrEqual(missing);
  });
});

describe('channels that went another way than past the capture', () => {
  const pages = (ram: StreamBuilder): unknown => ram.zeros('pc.ram', range(0, 40));
  const begin = () => stream().header().ramStart(MEMORY);
  const alone = (main: Uint8Array) => {
    const { migrations, codes } = analyse([syn(0), { direction: 0, offset: 0, payload: main }]);
    return { ...migrations[0]!, isMissing: codes.includes('stream/channel-missing') };
  };

  test('without those that the main channel marks flushes for, pages and rounds are not known', () => {
    const marked = begin().part((ram) => ram.flushMark());
    const { pages: counted, rounds, downtime, stream: read, isMissing } = alone(marked.end().eof().build());
    expect(counted).toMatchObject({ zero: null, distinct: null, resent: null });
    expect(rounds).toEqual([]);
    expect(downtime!.method).not.toContain('no page was sent twice');
    expect(read.features).toContain('multifd');
    expect(isMissing).toBe(true);
  });

  test('a guest of zero pages alone has the others in channels that are not marked', () => {
    const { pages: counted, isMissing } = alone(begin().part(pages).end().eof().build());
    expect(counted).toMatchObject({ zero: 40, distinct: null, resent: null });
    expect(isMissing).toBe(true);
  });

  test('a capture that ends before the first page that is not zero shows nothing of the kind', () => {
    const { pages: counted, isMissing } = alone(begin().part(pages).build());
    expect(counted).toMatchObject({ zero: 40, distinct: 40, resent: 0 });
    expect(isMissing).toBe(false);
  });

  test('without the main channel it is not known how it ended', () => {
    const log = new AnomalyLog();
    const state = new MigrationState(log, 0, 0);
    state.multifdPage(state.joinMultifd(false), 0, 0, 0, PAGE_NORMAL, PAGE);
    expect(state.finish().pages).toMatchObject({ normal: 1, zero: null, distinct: null });
    expect(log.finish().map(({ code }) => code)).toContain('stream/channel-missing');
  });
});

describe('frames cut to a few bytes, up to an orderly end', () => {
  const pages = stream()
    .header()
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 40)))
    .build();
  const whole = bytes(pages, smallMigration().build().slice(-400)); // device state and description
  const outcome = (payload: Uint8Array, captured: number): string => {
    const frames: Frame[] = [syn(0), { offset: 0, payload: payload.slice(0, 64) }];
    for (let at = 64; at < payload.length; at += 100)
      frames.push({ offset: at, payload: payload.slice(at, at + 100), captured });
    frames.push({ offset: payload.length, flags: FLAG_FIN | FLAG_ACK });
    return analyse(frames).migrations[0]!.outcome;
  };

  test('of which too few show to tell the description: whether it was cancelled is not known', () => {
    expect(outcome(whole, 14)).toBe('incomplete');
    expect(outcome(whole, 60)).toBe('completed');
  });

  test('in pages: it was cancelled', () => {
    expect(outcome(pages, 14)).toBe('cancelled');
  });
});

describe('frames cut to their headers, and one of them shows that a disk is copied in the same stream', () => {
  const disk = bytes([1], be32(1), str8('block'), be32(0), be32(1), be64(2), [0x7e], be32(1));
  const other = bytes([1], be32(1), str8('slirp'), be32(0), be32(1), be64(2), [0x7e], be32(1));
  /** Segments of 1448 bytes, of which 30 were kept. `start` begins one, as behind each flush of the source. */
  const snapped = (start: Uint8Array): Migration => {
    const header = stream().header().command(1).build();
    const chunks = range(0, 200).map((chunk) => bytes(be64(chunk * 2048 + 0x1), str8('virtio0'), range(0, 5000)));
    const memory = stream()
      .ramStart(MEMORY)
      .part((ram) => ram.pages('pc.ram', range(0, 400)))
      .end((ram) => ram.pages('pc.ram', range(0, 100)));
    const rest = bytes(start, [2], be32(1), ...chunks, be64(2), [0x7e], be32(1), memory.eof().build());
    const frames: Frame[] = [syn(0), { offset: 0, payload: header, captured: header.length - 1 }];
    for (let at = 0; at < rest.length; at += 1448)
      frames.push({ offset: header.length + at, payload: rest.slice(at, at + 1448), captured: 30 });
    return analyse(frames).migrations[0]!;
  };

  test('its bytes are not counted as pages, and no rounds are made of them', () => {
    const { pages, rounds, stream: read } = snapped(disk);
    expect(read.features).toEqual(['block']);
    expect({ normal: pages.normal, rounds: rounds.length }).toEqual({ normal: 0, rounds: 0 });
    expect(read.lostPages!.atLeast).toBe(0);
    expect(read.lostPages!.atMost).toBeGreaterThan(500);
  });

  test('sections that are sent whole change nothing', () => {
    const { pages, stream: read } = snapped(other);
    expect(read.features).toEqual(['rounds-inferred']);
    expect(pages.normal).toBeGreaterThan(500);
  });
});

test('sections of large versions, as a watchdog and an EEPROM have, end the ones before them', () => {
  const whole = stream()
    .header()
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 4)))
    .end()
    .full(7, 'virtio-scsi', range(0, 40))
    .full(8, '0000:00:0a.0/i6300esb_wdt', range(0, 30), 0, 10_000)
    .full(9, '0000:00:07.0/eeprom', range(0, 30), 0, 20_061_113)
    .full(10, 'globalstate', range(0, 20))
    .eof()
    .build();
  const { migrations, codes } = analyse([syn(0), { direction: 0, offset: 0, payload: whole }]);
  expect(migrations[0]!.devices.map(({ name }) => name)).toEqual([
    'virtio-scsi',
    '0000:00:0a.0/i6300esb_wdt',
    '0000:00:07.0/eeprom',
    'globalstate',
  ]);
  expect(migrations[0]!.outcome).toBe('completed');
  expect(codes).toEqual([]);
});

test('a SHUT beside a stream without end mark is a contradiction', () => {
  const { codes } = analyse([
    syn(0),
    { direction: 0, offset: 0, payload: stream().header().ramStart(MEMORY).build() },
    { direction: 1, offset: 0, payload: bytes(be16(1), be16(4), be32(0)) },
  ]);
  expect(codes).toContain('stream/invariant');
});

describe('downtime', () => {
  const shut = bytes(be16(1), be16(4), be32(0));
  const still = stream()
    .header()
    .command(1)
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 40)))
    .end()
    .eof()
    .build();
  const downtimeOf = (...behind: Frame[]) =>
    analyse([syn(0), { direction: 0, offset: 0, payload: still }, ...behind]).migrations[0]!.downtime!;

  test('with a return path open, says that SHUT is not in the capture', () => {
    expect(downtimeOf().method).toContain('SHUT is not in the capture');
    expect(downtimeOf({ direction: 1, offset: 0, payload: shut }).method).toContain('to SHUT on the return path');
  });

  test('may have begun before the migration where no page was sent twice', () => {
    const { method, earliestStartNs } = downtimeOf({ direction: 1, offset: 0, payload: shut });
    expect(method).toContain('no page was sent twice');
    expect(earliestStartNs).toBe(0);
  });

  test('does not end at the destination where the migration failed', () => {
    const failed = bytes(be16(1), be16(4), be32(1));
    expect(downtimeOf({ direction: 1, offset: 0, payload: failed }).method).toContain('broke off');
  });
});

test('pages that are estimated from bytes say so', () => {
  const figures = {
    ...{ outcome: 'incomplete' as const, rounds: [], pages: {} as Migration['pages'] },
    ...{ downtime: null, postcopy: null, returnPath: {} },
  };
  const said = (features: readonly string[]) => countingRules({ ...figures, features }).map(({ figure }) => figure);
  expect(said(['rounds-inferred'])).toEqual(['pages']);
  expect(said([])).toEqual([]);
});

test('joined midway, distinct pages are unknown once a block is named: it may be the one that went before', () => {
  const whole = stream()
    .header()
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 60)))
    .part((ram) => ram.pages('vga.vram', range(0, 3)))
    .part((ram) => ram.pages('pc.ram', range(10, 20)))
    .end((ram) => ram.pages('pc.ram', range(12, 14)))
    .eof()
    .build();
  const { migrations } = analyse([{ direction: 0, offset: 0, payload: whole.slice(20_000) }]);
  expect(migrations[0]!.pages).toMatchObject({ distinct: null, resent: null });
});

test('multifd channels that lost marks in a gap are out of step: rounds behind it are not sure', () => {
  const confidences = (marks: number): number[] => {
    const state = new MigrationState(new AnomalyLog(), 0, 0);
    const [whole, gappy] = [state.joinMultifd(false), state.joinMultifd(false)];
    state.multifdPage(whole, 0, 0, 0, PAGE_NORMAL, PAGE);
    state.multifdBlind(PAGE, 0);
    for (let round = 1; round < 4; round++) {
      for (const lane of [MAIN_LANE, whole]) state.multifdSync(lane);
      if (round <= marks) state.multifdSync(gappy);
      state.multifdPage(whole, round * 1e9, 0, 0, PAGE_NORMAL, PAGE);
    }
    return state.finish().rounds.map(({ confidence }) => confidence);
  };
  expect(confidences(3)).toEqual([0.5, 0.5, 0.95, 0.95]);
  expect(confidences(2)).toEqual([0.5, 0.5, 0.5, 0.5]);
});

describe('post-copy that the stream does not show', () => {
  const start = stream()
    .header()
    .command(1)
    .ping(1)
    .command(3, [...be64(PAGE), ...be64(PAGE)])
    .ramStart(MEMORY)
    .part((ram) => ram.pages('pc.ram', range(0, 40)));
  const length = start.build().length;
  const whole = start
    .packaged((inner) => inner.command(4).full(9, 'cpu', range(0, 40)).ping(3).command(5))
    .part((ram) => ram.pages('pc.ram', range(40, 60)))
    .build();
  const request = bytes(be16(3), be16(19), be64(50 * PAGE), be32(PAGE), str8('pc.ram'));
  const opened: Frame[] = [syn(0), { direction: 0, offset: 0, payload: whole.slice(0, length) }];
  const behind = (offset: number, message: Uint8Array): Frame => ({ direction: 1, offset, payload: message });

  test('is told by the answer to the last ping in the package, which the capture lost', () => {
    const { migrations, codes } = analyse([
      ...opened,
      behind(0, pong(3)),
      { direction: 1, offset: 8, ack: whole.length },
      { direction: 0, offset: whole.length - 5 * (PAGE + 8), payload: whole.slice(-5 * (PAGE + 8)) },
    ]);
    const { postcopy, phases } = migrations[0]!;
    expect(phases.map(({ kind }) => kind)).toEqual(['setup', 'precopy', 'postcopy']);
    expect(phases.at(-1)!.startNs).toBe(postcopy!.startNs);
    expect(codes).not.toContain('stream/invariant');
  });

  test('goes on where memory ends', () => {
    const end = stream()
      .part(() => {})
      .end((ram) => ram.pages('pc.ram', range(70, 75)))
      .eof();
    const rest = end.build();
    const { migrations } = analyse([
      ...opened,
      behind(0, pong(3)),
      { direction: 1, offset: 8, ack: whole.length },
      { direction: 0, offset: whole.length - 5 * (PAGE + 8), payload: whole.slice(-5 * (PAGE + 8)) },
      { direction: 0, offset: whole.length, payload: rest },
    ]);
    expect(migrations[0]!.phases.map(({ kind }) => kind)).toEqual(['setup', 'precopy', 'postcopy', 'handover']);
  });

  test('begins once when an answer is captured before what it answers', () => {
    const { migrations, codes } = analyse([
      ...opened,
      behind(0, request),
      { direction: 0, offset: length, payload: whole.slice(length) },
    ]);
    expect(migrations[0]!.rounds.map(({ boundary }) => boundary)).toEqual(['first-pass', 'post-copy']);
    expect(migrations[0]!.phases.map(({ kind }) => kind)).toEqual(['setup', 'precopy', 'postcopy']);
    expect(codes).not.toContain('stream/invariant');
  });

  test('contradicts a stream that could be read', () => {
    const { codes } = analyse([...opened, behind(0, request)]);
    expect(codes).toContain('stream/invariant');
  });

  test('is not cancelled when its connection ends: it pauses', () => {
    const closed: Frame = { direction: 0, offset: whole.length, flags: FLAG_FIN | FLAG_ACK };
    const { migrations } = analyse([syn(0), { direction: 0, offset: 0, payload: whole }, closed]);
    expect(migrations.map(({ outcome }) => outcome)).toEqual(['incomplete']);
  });

  test('is not ruled out where the switch may lie in a gap: such an end may be a pause as well as a cancelling', () => {
    const outcome = (advised: boolean): string => {
      const begin = stream().header().command(1).ping(1);
      if (advised) begin.command(3, [...be64(PAGE), ...be64(PAGE)]);
      const main = begin
        .ramStart(MEMORY)
        .part((ram) => ram.pages('pc.ram', range(0, 60)))
        .build();
      const gap = main.length - 20 * (PAGE + 8);
      const closed: Frame = { direction: 0, offset: main.length, flags: FLAG_FIN | FLAG_ACK };
      const { migrations } = analyse([
        syn(0),
        { direction: 0, offset: 0, payload: main.slice(0, gap - 10 * PAGE) },
        { direction: 1, offset: 0, ack: main.length },
        { direction: 0, offset: gap, payload: main.slice(gap) },
        closed,
      ]);
      return migrations[0]!.outcome;
    };
    expect(outcome(true)).toBe('incomplete');
    expect(outcome(false)).toBe('cancelled');
  });

  test('is known by the request with which a source recovers, though the switch was in a gap', () => {
    const tail = whole.length - 5 * (PAGE + 8);
    const recovery = stream()
      .command(10, str8('pc.ram'))
      .part((ram) => ram.pages('pc.ram', range(60, 70)))
      .build();
    const { migrations } = analyse([
      ...opened,
      { direction: 1, offset: 0, ack: whole.length },
      { direction: 0, offset: tail, payload: whole.slice(tail) },
      { direction: 0, offset: whole.length, flags: FLAG_FIN | FLAG_ACK },
      syn(2),
      { direction: 2, offset: 0, payload: recovery },
    ]);
    expect(migrations).toHaveLength(1);
    expect(migrations[0]!.connections).toEqual([0, 1]);
    expect(migrations[0]!.rounds.at(-1)!.boundary).toBe('post-copy');
  });
});

test('zeros behind a gap in the return path are not what COLO says first', () => {
  const main = stream().header().command(1).ping(1).ramStart(MEMORY).build();
  const { migrations } = analyse([
    syn(0),
    { direction: 0, offset: 0, payload: main },
    syn(1),
    { direction: 1, offset: 4000, payload: bytes(new Uint8Array(20), pong(2)) },
  ]);
  expect(migrations[0]!.returnPath).not.toHaveProperty('colo-checkpoint-ready');
});

describe('a multifd channel whose hello is not where it belongs', () => {
  test('has passed no mark when its first packet stands right behind the lost hello', () => {
    const confidence = (resumed: number): number => {
      const state = new MigrationState(new AnomalyLog(), 0, 0);
      state.joinMultifd(false);
      const channel = new MultifdSink(() => state, true);
      channel.blind(Math.min(64, resumed), resumed, 0);
      channel.page(resumed, 0, 0, 0, PAGE_NORMAL, PAGE);
      return state.rounds.finish()[0]!.confidence;
    };
    expect(confidence(64)).toBe(1);
    expect(confidence(70_000)).toBe(0.5);
  });

  test('is known by the hello when the handshake is not in the capture, or comes later', () => {
    const hello = bytes(be32(0x11223344), be32(1), new Uint8Array(16), [5], new Uint8Array(39));
    const main = stream().header().ramStart(MEMORY).build();
    const said: Frame = { direction: 2, offset: 0, payload: hello };
    for (const channel of [[said], [said, syn(2)]]) {
      const { channels, codes } = analyse([syn(0), { direction: 0, offset: 0, payload: main }, ...channel]);
      expect(channels.map(({ index }) => index)).toContain(5);
      expect(codes).not.toContain('stream/mid-stream');
    }
  });
});
