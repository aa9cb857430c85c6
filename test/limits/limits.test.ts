// Bounds that no other test crosses (docs/robustness.md lists which test crosses which), most of them made small here so
// that little input does it: what lies beyond is counted or noted, and all else goes on.
import { Readable } from 'node:stream';
import { describe, expect, test, vi } from 'vitest';
import { Analysis, type Results } from '../../src/analyze.js';
import { AnomalyLog } from '../../src/anomaly.js';
import { Timeline } from '../../src/columns.js';
import type { StreamConsumer } from '../../src/decode/stream.js';
import { ByteCursor, want } from '../../src/decode/tcp/byte-cursor.js';
import { FrameLog } from '../../src/decode/tcp/frame-log.js';
import { RangeSet } from '../../src/decode/tcp/ranges.js';
import { Reassembler } from '../../src/decode/tcp/reassembly.js';
import { Transmitted } from '../../src/decode/tcp/transmitted.js';
import * as limits from '../../src/limits.js';
import { Generations, MAIN_LANE } from '../../src/migration-stream/generations.js';
import { mainChannel } from '../../src/migration-stream/main-channel.js';
import { NO_PAGE, PageHistory } from '../../src/migration-stream/pages.js';
import { PAGE_NORMAL } from '../../src/migration-stream/records.js';
import { Rounds } from '../../src/migration-stream/rounds.js';
import { SendBuffer } from '../../src/migration-stream/send-buffer.js';
import { Sightings } from '../../src/migration-stream/sightings.js';
import { reportOn } from '../support/analyze.js';
import { pcap, someFrames } from '../support/captures.js';
import { decoded } from '../support/decoded.js';
import { batchOf, type CapturedFrame, ethernet, frame, ipv4, mpls, tcp, udp } from '../support/frames.js';
import {
  be16,
  be32,
  be64,
  decodeChunks,
  describing,
  PAGE,
  range,
  type StreamBuilder,
  str8,
  stream,
} from '../support/migration-stream.js';
import { feed } from '../support/reassembly.js';
import * as rdma from '../support/udp-transports/roce.js';

vi.mock('../../src/limits.js', async (original) => ({
  ...(await original<typeof limits>()),
  CONNECTIONS: 32,
  REASSEMBLY_DIRECTION_BYTES: 40_000,
  REASSEMBLY_TOTAL_BYTES: 200_000,
  RESYNC_SEARCH_BYTES: 100_000,
  STREAM_SEARCHES: 3,
  TRANSMITTED_SEGMENTS: 64,
  TIMELINE_DIRECTIONS: 3,
  EVENT_ROWS: 20,
  PAGE_HISTORY_PAGES: 8192,
  STREAM_RECORDS: 6,
  DESCRIPTION_BYTES: 200,
  PAGE_REQUESTS: 4,
  SIGHTINGS: 10,
  ROUNDS: 4,
  ANOMALY_KEYS: 20,
  MULTIFD_WAITING_PAGES: 50,
  MULTIFD_GENERATIONS: 30,
  RDMA_RANGE_PAGES: 16,
  PAIRED_FRAMES: 2,
}));

/** Frames through the whole analysis, 10 µs apart. */
function analysed(frames: readonly (Uint8Array | CapturedFrame)[], batchRows = 4096): Results {
  const analysis = new Analysis();
  const timed = frames.map((each, i) => ({
    tNs: i * 10_000,
    ...(each instanceof Uint8Array ? { bytes: each } : each),
  }));
  for (let at = 0; at < timed.length; at += batchRows) {
    analysis.push(batchOf(timed.slice(at, at + batchRows), { firstFrame: at + 1 }));
  }
  return analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
}

const counts = (results: Results): Record<string, number> =>
  Object.fromEntries(results.anomalies.map(({ code, count }) => [code, count]));

const client = (port: number, offset: number, payload: Uint8Array | string = '', flags = 'A'): Uint8Array =>
  frame(ethernet(), ipv4(), tcp({ srcPort: port, dstPort: 4444, seq: 1 + offset, ack: 1, flags }, payload));
const server = (
  port: number,
  acked: number,
  window = 1000,
  offset = 0,
  payload: Uint8Array | string = '',
): Uint8Array =>
  frame(
    ethernet(),
    ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
    tcp({ srcPort: 4444, dstPort: port, seq: 1 + offset, ack: 1 + acked, window }, payload),
  );
const handshake = (port: number): Uint8Array[] => [
  client(port, -1, '', 'S'),
  frame(
    ethernet(),
    ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }),
    tcp({ srcPort: 4444, dstPort: port, seq: 0, ack: 1, flags: 'SA' }),
  ),
  client(port, 0),
];
/** A stream as segments, each acknowledged. */
const sent = (port: number, bytes: Uint8Array, from = 0): Uint8Array[] => {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += 1400) {
    const part = bytes.subarray(at, at + 1400);
    frames.push(client(port, from + at, part), server(port, from + at + part.length));
  }
  return frames;
};

describe('frames', () => {
  test('TUNNEL_BYTES: labels beyond it are not peeled', () => {
    const labelled = (count: number): string =>
      decoded(frame(ethernet(), mpls(...range(16, 16 + count)), ipv4(), tcp())).kind;
    expect(labelled(limits.TUNNEL_BYTES / 4 - 8)).toBe('tcp');
    expect(labelled(limits.TUNNEL_BYTES / 4 + 8)).not.toBe('tcp');
  });

  test('UDP_TIMELINE_BYTES: a flow below it has totals only', () => {
    const datagrams = (port: number, count: number): Uint8Array[] =>
      range(0, count).map(() => frame(ethernet(), ipv4(), udp({ srcPort: port }, new Uint8Array(1000))));
    const { flows, timeline } = analysed([...datagrams(1000, 40), ...datagrams(1001, 80)]).udp;
    expect(flows).toHaveLength(2);
    const large = flows.find((flow) => flow.client.port === 1001)!;
    expect(large.directions[0].wireBytes).toBeGreaterThan(limits.UDP_TIMELINE_BYTES);
    expect(new Set(Array.from(timeline.columns['flow']!.values as Float64Array))).toEqual(new Set([large.id]));
  });
});

describe('containers', () => {
  test('FRAME_BYTES: a frame as large is read, a larger one is stepped over, and it is said', async () => {
    const read = async (bytes: number): Promise<readonly [number, string[]]> => {
      const [first, large, last] = someFrames(3).map((each, i) =>
        i === 1 ? { ...each, bytes: new Uint8Array(bytes) } : each,
      );
      const file = Buffer.from(pcap([first!, large!, last!]));
      const { capture, anomalies } = await reportOn('-', { stdin: Readable.from([file], { objectMode: false }) });
      return [capture.frames, anomalies.map(({ code }) => code)];
    };
    expect(await read(limits.FRAME_BYTES)).toEqual([3, []]);
    expect(await read(limits.FRAME_BYTES + 1)).toEqual([2, ['capture/bad-length']]);
  });
});

describe('connections', () => {
  test('CONNECTIONS: those idle longest make room, and it is said', () => {
    const results = analysed(
      range(0, 50).flatMap((i) => handshake(1000 + i)),
      6,
    );
    expect(counts(results)['tcp/connections-full']).toBeGreaterThanOrEqual(50 - limits.CONNECTIONS);
    const ports = results.tcp.connections.map((connection) => connection.client.port);
    expect(ports.length).toBeLessThanOrEqual(limits.CONNECTIONS);
    expect(ports).toContain(1049);
    expect(ports).not.toContain(1000);
    expect(results.frames).toBe(150);
  });

  test('TRANSMITTED_SEGMENTS: the oldest are forgotten and counted', () => {
    const transmitted = new Transmitted();
    for (let i = 0; i < 100; i++) transmitted.append(i * 10, 10, i, 0, 0, 1);
    expect(transmitted.dropped).toBe(100 - limits.TRANSMITTED_SEGMENTS);
    expect(transmitted.start(transmitted.find(0))).toBe(360);
  });

  test('TRANSMITTED_SEGMENTS, crossed by a sender that is never acknowledged, is said', () => {
    const results = analysed([
      ...handshake(1000),
      ...range(0, 100).map((i) => client(1000, i * 100, new Uint8Array(100))),
    ]);
    expect(counts(results)).toEqual({ 'tcp/approximate': 1 });
    expect(results.tcp.connections[0]!.directions[0].uniqueBytes).toBe(10_000);
  });

  test('ranges beyond a limit: neighbours merge, no byte that was in the set leaves it', () => {
    const limit = limits.SEQUENCE_HOLES;
    const ranges = new RangeSet(limit);
    for (let i = 0; i < limit + 7; i++) ranges.append(i * 10, i * 10 + 1, []);
    expect({ count: ranges.count, merged: ranges.merged }).toEqual({ count: limit, merged: 7 });
    expect(ranges.bytes).toBe(limit + 7 + 7 * 9);
  });

  test('TIMELINE_DIRECTIONS: the largest directions have a timeline', () => {
    const bulk = (port: number, count: number): CapturedFrame[] =>
      range(0, count).map((i) => ({ bytes: client(port, i * 60_000, new Uint8Array(60_000)) }));
    const results = analysed([20, 25, 30, 35, 40].flatMap((count, i) => bulk(1000 + i, count)));
    expect(results.tcp.connections).toHaveLength(5);
    const directions = new Set(Array.from(results.tcp.timeline.columns['direction']!.values as Float64Array));
    expect([...directions]).toEqual([4, 6, 8]);
  });

  test('EVENT_ROWS: events beyond it are left out of the table', () => {
    const toggling = range(0, 60).map((i) => server(1000, 10, i % 2 === 0 ? 0 : 1000));
    const data = [client(1000, 0, new Uint8Array(10)), ...toggling, client(1000, 10, new Uint8Array(10))];
    const results = analysed([...handshake(1000), ...data]);
    expect(results.tcp.connections[0]!.directions[0].zeroWindow.episodes).toBe(30);
    expect(results.tcp.events.rows).toBe(limits.EVENT_ROWS);
  });

  test('PAIRED_FRAMES: frames beyond it are not paired, and counted', () => {
    const log = new FrameLog();
    const { batch, rows } = decoded(client(1000, 0, 'x'));
    rows.direction[0] = 0;
    for (let i = 0; i < 5; i++) log.push(batch, rows);
    expect({ count: log.count, lost: log.lost }).toEqual({ count: limits.PAIRED_FRAMES, lost: 3 });
  });
});

describe('time bins', () => {
  test('TIMELINE_BINS, TIMELINE_BIN_NS: beyond the last bin pairs merge, sums stay', () => {
    const timeline = new Timeline(['sum', 'max']);
    expect(timeline.binNs).toBe(limits.TIMELINE_BIN_NS);
    for (let i = 0; i < 3 * limits.TIMELINE_BINS; i++) {
      const bin = timeline.bin(i * limits.TIMELINE_BIN_NS);
      timeline.series[0]![bin]! += 1;
      timeline.series[1]![bin] = Math.max(i, timeline.series[1]![bin] || 0);
    }
    expect(timeline.binNs).toBe(4 * limits.TIMELINE_BIN_NS);
    expect(timeline.used).toBeLessThanOrEqual(limits.TIMELINE_BINS);
    const used = Array.from(timeline.series[0]!.subarray(0, timeline.used));
    expect(used.reduce((sum, value) => sum + value)).toBe(3 * limits.TIMELINE_BINS);
    expect(timeline.series[1]![timeline.used - 1]).toBe(3 * limits.TIMELINE_BINS - 1);
  });
});

describe('reassembly', () => {
  test('REASSEMBLY_TOTAL_BYTES: the oldest hole anywhere is given up', () => {
    const held = new Map<number, string[]>();
    const consumer = (direction: number): StreamConsumer => {
      const seen: string[] = [];
      held.set(direction, seen);
      return {
        bytes: (_buffer, start, end) => {
          seen.push(`${end - start}`);
          return true;
        },
        hole: (_offset, length, cause) => void seen.push(`<${length} ${cause}>`),
        end: () => {},
      };
    };
    const log = new AnomalyLog();
    const reassembler = new Reassembler(consumer, log);
    const payload = new Uint8Array(10_000);
    const frames = [0, 2, 4, 6, 8, 10, 12, 14].flatMap((direction) => [
      { direction, offset: 0, payload: new Uint8Array(10) },
      { direction, offset: 20, payload },
      { direction, offset: 10_020, payload },
    ]);
    feed(reassembler, frames);
    expect(held.get(0)).toEqual(['10', '<10 given-up>', '10000', '10000']);
    expect(held.get(14)).toEqual(['10']);
    expect(log.count('stream/hole-given-up')).toBeGreaterThanOrEqual(1);
  });

  test('CURSOR_BYTES: a decoder that asks for more is told no at once', () => {
    expect(want(new ByteCursor(), limits.CURSOR_BYTES + 1).next()).toEqual({ done: true, value: false });
    expect(want(new ByteCursor(), limits.CURSOR_BYTES).next()).toEqual({ done: false, value: limits.CURSOR_BYTES });
  });
});

/** A migration whose channel is joined after its beginning. */
const midway = (rounds: number): Uint8Array => {
  const builder = stream();
  for (let i = 0; i < rounds; i++)
    builder.part((ram) => ram.pages('pc.ram', range(0, 24)).zeros('pc.ram', range(24, 40)));
  return builder.build();
};

describe('migration streams', () => {
  const blocks = [{ name: 'pc.ram', length: 64 * PAGE }];
  const devices = (count: number): StreamBuilder => {
    const builder = stream()
      .header()
      .ramStart(blocks)
      .part((ram) => ram.pages('pc.ram', [1]));
    builder.end();
    for (let i = 0; i < count; i++) builder.full(10 + i, `device-${i}`, range(0, 8));
    return builder.eof();
  };
  const migrationOf = (bytes: Uint8Array): Results => analysed([...handshake(1000), ...sent(1000, bytes)]);

  test('STREAM_RECORDS: devices beyond it are counted only', () => {
    const results = migrationOf(devices(9).build());
    expect(results.migration.migrations[0]!.devices).toHaveLength(limits.STREAM_RECORDS);
    expect(counts(results)['stream/limit']).toBeGreaterThanOrEqual(1);
    expect(results.migration.migrations[0]!.stream.undecodedBytes).toBe(0);
  });

  test('DESCRIPTION_BYTES: a longer description is stepped over', () => {
    const list = range(0, 9).map((i) => ({ name: `device-${i}`, size: 8 }));
    const { records, anomalies, undecodedBytes } = decodeChunks(mainChannel, [
      devices(0).description(describing(list)).build(),
    ]);
    expect(describing(list).length).toBeGreaterThan(limits.DESCRIPTION_BYTES);
    expect(anomalies).toEqual(['stream/limit']);
    expect(records.at(-2)).toBe(`description ${5 + describing(list).length} undefined`);
    expect(undecodedBytes).toBe(0);
  });

  test('ROUNDS: the last one grows', () => {
    const rounds = new Rounds(new PageHistory());
    for (let round = 0; round < 9; round++) {
      rounds.section(round * 100, 'part');
      for (let page = 0; page < 10; page++) rounds.page(round * 100 + page, 0, page * PAGE, PAGE_NORMAL, PAGE + 8);
      rounds.endSection(round * 100 + 50);
    }
    const closed = rounds.finish();
    expect(closed).toHaveLength(limits.ROUNDS);
    expect(closed.reduce((sum, round) => sum + round.pages.normal, 0)).toBe(90);
    expect(closed.at(-1)!.pages.normal).toBe(60);
  });

  test('PAGE_HISTORY_PAGES: pages beyond it are counted, without history', () => {
    const history = new PageHistory();
    const at = (page: number): number => history.number(0, page * PAGE);
    expect([at(0), at(5000)]).not.toContain(NO_PAGE);
    expect(at(limits.PAGE_HISTORY_PAGES + 1)).toBe(NO_PAGE);
    expect(at(5001)).not.toBe(NO_PAGE);
  });

  test('MULTIFD_WAITING_PAGES: a lane that stands still is not waited for', () => {
    const rounds = new Rounds(new PageHistory());
    const generations = new Generations(rounds);
    const [fast] = [generations.join(), generations.join()];
    generations.mark(fast);
    for (let page = 0; page < 200; page++) generations.page(fast, page, 0, page * PAGE, PAGE_NORMAL, PAGE);
    expect(generations.overflowed).toBe(true);
    const pages = rounds.finish().reduce((sum, round) => sum + round.pages.normal, 0);
    expect(pages).toBeGreaterThanOrEqual(200 - limits.MULTIFD_WAITING_PAGES);
  });

  test('MULTIFD_GENERATIONS: marks without pages do not pile up before a lane that stands still', () => {
    const history = new PageHistory();
    const pageOf = vi.spyOn(history, 'number');
    const generations = new Generations(new Rounds(history));
    const still = generations.join();
    generations.section(0, 'part');
    generations.endSection();
    generations.page(MAIN_LANE, 1, 0, 0, PAGE_NORMAL, PAGE);
    expect(pageOf).not.toHaveBeenCalled(); // it waits for the other lane
    for (let i = 0; i < limits.MULTIFD_GENERATIONS; i++) {
      generations.section(i, 'part');
      generations.endSection();
    }
    expect(generations.overflowed).toBe(true);
    generations.end(still);
    expect(pageOf).toHaveBeenCalled();
  });

  test('PAGE_REQUESTS: the latency of further ones is not measured', () => {
    const until = stream()
      .header()
      .command(1)
      .ramStart(blocks)
      .part((ram) => ram.pages('pc.ram', range(0, 4)))
      .command(3, [...be64(PAGE), ...be64(PAGE)])
      .packaged((inner) => inner.command(4).full(9, 'timer', range(0, 8)).command(5))
      .build();
    const rest = stream()
      .part((ram) => ram.pages('pc.ram', range(40, 46)))
      .end()
      .eof()
      .build();
    // MIG_RP_MSG_REQ_PAGES_ID: address, length, block name.
    const ask = (page: number): Uint8Array =>
      Uint8Array.from([...be16(3), ...be16(19), ...be64(page * PAGE), ...be32(PAGE), ...str8('pc.ram')]);
    const asking = range(40, 46).map((page, i) => server(1000, until.length, 1000, i * ask(page).length, ask(page)));
    const results = analysed([...handshake(1000), ...sent(1000, until), ...asking, ...sent(1000, rest, until.length)]);
    const { postcopy } = results.migration.migrations[0]!;
    expect(postcopy!.requests).toBe(6);
    expect(postcopy!.requestLatencyNs!.samples).toBe(limits.PAGE_REQUESTS);
  });

  test('RDMA_RANGE_PAGES: the rest of a longer zero message is left out, and it is said', () => {
    const [source, destination] = [0x11, 0x22];
    const out = (datagram: Uint8Array): Uint8Array => frame(ethernet(), ipv4(), udp({ dstPort: 4791 }, datagram));
    const back = (datagram: Uint8Array): Uint8Array =>
      frame(ethernet(), ipv4({ src: '10.0.0.2', dst: '10.0.0.1' }), udp({ dstPort: 4791 }, datagram));
    const zeros = (pages: number): Record<string, unknown> => {
      const messages = [
        rdma.qemuFile(
          stream()
            .header()
            .ramStart([{ name: 'pc.ram', length: 64 * PAGE }])
            .part((ram) => ram.pages('pc.ram', [60]))
            .build(),
        ),
        rdma.compress(0, 0, pages * PAGE),
      ];
      const results = analysed([
        out(rdma.cmRequest({ id: 1, queuePair: source, sequence: 0 })),
        back(rdma.cmReply({ id: 2, peerId: 1, queuePair: destination, sequence: 0 })),
        back(
          rdma.packet(rdma.SEND_ONLY, source, 0, [], rdma.ramBlocksResult([{ host: 0, ram: 0, length: 64 * PAGE }])),
        ),
        ...messages.map((message, i) => out(rdma.packet(rdma.SEND_ONLY, destination, i, [], message))),
      ]);
      return { zero: results.migration.migrations[0]?.pages.zero, ...counts(results) };
    };
    expect(zeros(limits.RDMA_RANGE_PAGES)).toEqual({ zero: limits.RDMA_RANGE_PAGES });
    expect(zeros(40)).toEqual({ zero: limits.RDMA_RANGE_PAGES, 'stream/limit': 1 });
  });

  test('SIGHTINGS: further ones are not kept', () => {
    const sightings = new Sightings();
    for (let i = 0; i < 25; i++) sightings.add(i * PAGE, i, 0, i);
    expect(sightings.count).toBe(limits.SIGHTINGS);
  });

  test('SEND_BUFFER_BYTES: no larger buffer is believed in', () => {
    const writtenNs = (firstSectionBytes: number): number => {
      const buffer = new SendBuffer();
      let offset = 0;
      const go = (bytes: number, fromNs: number, toNs: number): void => {
        buffer.section(offset, fromNs);
        for (let i = 1; i <= 1000; i++) buffer.left(offset + (bytes * i) / 1000, fromNs + ((toNs - fromNs) * i) / 1000);
        offset += bytes;
      };
      // The first section fills the buffer: it seems to last 100 s on the wire, the others 50 ms.
      go(firstSectionBytes, 0, 100e9);
      for (let i = 0; i < 6; i++) go(50_000, 100e9 + i * 50e6, 100e9 + (i + 1) * 50e6);
      return buffer.written(offset, 100e9 + 300e6).tNs;
    };
    // A first section of 64 MiB and one of 1 GiB seem to fill buffers as large. Believed is 4 MiB: what lies that far
    // back left 6 s and 0.4 s before the sections behind it, and no more.
    const reachNs = (firstSectionBytes: number): number => (limits.SEND_BUFFER_BYTES / firstSectionBytes) * 100e9;
    for (const bytes of [64 << 20, 1 << 30]) expect(writtenNs(bytes)).toBeGreaterThanOrEqual(100e9 - reachNs(bytes));
    expect(writtenNs(1 << 30)).toBeLessThan(100e9 + 300e6);
  });

  test('RESYNC_SEARCH_BYTES: beyond it nobody wants the stream', () => {
    const noise = (bytes: number): Uint8Array => Uint8Array.from({ length: bytes }, (_, i) => (i * 7919) >>> 5);
    const found = (before: number): number =>
      analysed([...sent(1000, noise(before)), ...sent(1000, midway(6), before)]).migration.migrations.length;
    expect(found(limits.RESYNC_SEARCH_BYTES / 2)).toBe(1);
    expect(found(2 * limits.RESYNC_SEARCH_BYTES)).toBe(0);
  });

  test('STREAM_SEARCHES: streams joined midway beyond it are left alone', () => {
    const noise = Uint8Array.from({ length: 2800 }, (_, i) => (i * 7919) >>> 5);
    const hosts = range(0, 6);
    const of = (host: number, frames: Uint8Array[]): Uint8Array[] =>
      frames.map((each) => {
        const moved = each.slice();
        for (const at of [28, 32]) moved[at] = host;
        return moved;
      });
    const results = analysed([
      ...hosts.flatMap((host) => of(host, sent(1000, noise))),
      ...hosts.flatMap((host) => of(host, sent(1000, midway(6), noise.length))),
    ]);
    expect(results.tcp.connections).toHaveLength(6);
    expect(results.migration.migrations).toHaveLength(limits.STREAM_SEARCHES);
  });
});

describe('anomalies', () => {
  test('ANOMALY_SAMPLES: further places are counted only', () => {
    const log = new AnomalyLog();
    for (let frame = 1; frame <= 100; frame++) log.note('decode/malformed', { frame });
    const [anomaly] = log.finish();
    expect(anomaly!.count).toBe(100);
    expect(anomaly!.samples).toHaveLength(limits.ANOMALY_SAMPLES);
  });

  test('ANOMALY_KEYS: further directions share one entry', () => {
    const log = new AnomalyLog();
    for (let direction = 0; direction < 100; direction++) log.note('stream/hole', { direction });
    const anomalies = log.finish();
    expect(anomalies).toHaveLength(limits.ANOMALY_KEYS + 1);
    expect(anomalies.reduce((sum, { count }) => sum + count, 0)).toBe(100);
  });
});
