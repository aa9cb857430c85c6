import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../../src/anomaly.js';
import { decodeFrames } from '../../../src/decode/frame.js';
import {
  createRows,
  NO_DIRECTION,
  TRIGGER_CONTROL,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_CONTROL,
  VERDICT_KEEP_ALIVE,
  VERDICT_LATE_ORIGINAL,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_NEW,
  VERDICT_NONE,
  VERDICT_OUT_OF_WINDOW,
  VERDICT_REORDERED,
  VERDICT_RETRANSMISSION,
  VERDICT_WINDOW_PROBE,
} from '../../../src/decode/rows.js';
import { Connections } from '../../../src/decode/tcp/connections.js';
import { cut, expanded, framesOf, transfer } from '../../support/conversation.js';
import {
  batchOf,
  type CapturedFrame,
  ethernet,
  frame,
  ipv4,
  ipv6,
  tcp,
  udp,
  vlan,
  vxlan,
} from '../../support/frames.js';
import { Script } from '../../support/script.js';
import { analyzeFrames, bulk, type TcpSetting } from '../../support/tcp-analysis.js';

interface Row {
  direction: number;
  offset: number;
  ackOffset: number;
  verdict: number;
  newBytes: number;
  trigger: number;
  unseenBytes: number;
  flight: number;
}

/** All tracked rows, one object a frame. */
function tracked(frames: readonly CapturedFrame[], setting: TcpSetting = {}): Row[] {
  const all: Row[] = [];
  analyzeFrames(frames, {
    ...setting,
    watch(batch, rows) {
      for (let row = 0; row < batch.count; row++) {
        all.push({
          direction: rows.direction[row]!,
          offset: rows.offset[row]!,
          ackOffset: rows.ackOffset[row]!,
          verdict: rows.verdict[row]!,
          newBytes: rows.newBytes[row]!,
          trigger: rows.trigger[row]!,
          unseenBytes: rows.unseenBytes[row]!,
          flight: rows.flight[row]!,
        });
      }
    },
  });
  return all;
}

const verdicts = (script: Script): number[] => tracked(script.frames()).map(({ verdict }) => verdict);
const syn = (srcPort: number, tNs: number): CapturedFrame => ({
  bytes: frame(ethernet(), ipv4(), tcp({ srcPort, flags: 'S', seq: srcPort })),
  tNs,
});

describe('who talks to whom', () => {
  test('the sender of the SYN is side 0, and both ways belong to one connection', () => {
    const rows = tracked(new Script().open().client({ length: 100 }).server({ ack: 100 }).frames());
    expect(rows.map(({ direction }) => direction)).toEqual([0, 1, 0, 0, 1]);
  });

  test('a capture that begins with the SYN-ACK knows the client all the same', () => {
    const { results } = analyzeFrames(new Script().open().client({ length: 100 }).frames().slice(1));
    expect(results.connections[0]!.client).toEqual({ address: '10.0.0.1', port: 40_000 });
  });

  test('the same addresses inside a tunnel are another connection; VLAN tags are not', () => {
    const inner = [ipv4(), tcp({}, 'x')] as const;
    const rows = tracked(
      [
        frame(ethernet(), ...inner),
        frame(ethernet(), vlan(7), ...inner),
        frame(ethernet(), ipv4(), udp({ dstPort: 4789 }), vxlan(42), ethernet(), ...inner),
      ].map((bytes, n) => ({ bytes, tNs: n * 1e9 })),
    );
    expect(rows.map(({ direction }) => direction)).toEqual([0, 0, 2]);
  });

  test('IPv6 addresses are written in their canonical form', () => {
    const hosts = ipv6({ src: 'fd00:0:0:1::1', dst: '2001:db8::1:0:0:5' });
    const bytes = frame(ethernet(), hosts, tcp({ srcPort: 1, dstPort: 2 }, 'x'));
    const [connection] = analyzeFrames([{ bytes, tNs: 0 }]).results.connections;
    expect([connection!.client.address, connection!.server.address]).toEqual(['fd00:0:0:1::1', '2001:db8::1:0:0:5']);
  });

  test('rows that are not TCP belong to no connection', () => {
    const [row] = tracked([{ bytes: frame(ethernet(), ipv4(), udp({}, 'x')), tNs: 0 }]);
    expect([row!.direction, row!.verdict]).toEqual([NO_DIRECTION, VERDICT_NONE]);
  });
});

describe('where a connection begins and ends', () => {
  test('a SYN sent again opens nothing new and counts as a retransmission', () => {
    const script = new Script().client({ flags: 'S', seq: -1 }).client({ flags: 'S', seq: -1, afterMs: 1000 });
    const rows = tracked(script.frames());
    expect(rows.map(({ direction, verdict, trigger }) => [direction, verdict, trigger])).toEqual([
      [0, VERDICT_CONTROL, 0],
      [0, VERDICT_CONTROL, TRIGGER_CONTROL],
    ]);
  });

  test('the same ports used again after FIN are a new connection', () => {
    const first = new Script()
      .open()
      .client({ length: 10 })
      .client({ flags: 'FA', seq: 10 })
      .server({ flags: 'FA', ack: 11 });
    const again = new Script().open().client({ length: 10 });
    const later = again.frames({ initialSeq: 900_000 }).map((item) => ({ ...item, tNs: item.tNs! + 1e9 }));
    const { results } = analyzeFrames([...first.frames(), ...later]);
    expect(results.connections.map(({ endedBy }) => endedBy)).toEqual(['fin', 'capture-end']);
    expect(results.connections[1]!.directions[0].payloadBytes).toBe(10);
  });

  test('a stray SYN inside the window does not cut a live connection in two', () => {
    const script = new Script().open().client({ length: 100 }).server({ ack: 100 }).client({ flags: 'S', seq: 500 });
    expect(analyzeFrames(script.frames()).results.connections).toHaveLength(1);
  });

  describe('a SYN behind data of the other side', () => {
    const [syn, synAck, ack, request, data] = new Script()
      .open()
      .client({ length: 100 })
      .server({ ack: 100, length: 500 })
      .frames();
    const count = (...frames: (CapturedFrame | undefined)[]): number =>
      analyzeFrames(frames as CapturedFrame[]).results.connections.length;
    /** The SYN that much later, and with another number. */
    const moved = (seconds: number, initialSeq: number): CapturedFrame => {
      const [other] = new Script().open().frames({ initialSeq });
      return { ...other!, tNs: data!.tNs! + seconds * 1e9 };
    };

    test('that acknowledges its number was captured late: one connection, whose client is known by the SYN-ACK', () => {
      expect(count(synAck, data, syn, ack, request)).toBe(1);
      expect(count(data, synAck, syn, ack, request)).toBe(1);
      const { connections } = analyzeFrames([synAck!, data!, syn!, ack!, request!]).results;
      expect(connections[0]!.client.port).toBe(40_000);
      expect(connections[0]!.directions.map(({ uniqueBytes }) => uniqueBytes)).toEqual([100, 500]);
      expect(connections[0]!.directions.map(({ unseenBytes }) => unseenBytes)).toEqual([0, 0]);
    });

    test('that acknowledges another one, or came long before, begins a connection', () => {
      expect(count(data, moved(0.5, 3_000_000_000))).toBe(2);
      expect(count(data, { ...syn!, tNs: data!.tNs! + 2e9 })).toBe(2);
    });
  });

  test('who closed first, and how', () => {
    const open = (): Script => new Script().open().client({ length: 10 }).server({ ack: 10 });
    const ends = [
      open().server({ flags: 'FA', ack: 10 }).client({ flags: 'FA', seq: 10, ack: 1 }),
      open().client({ flags: 'R', seq: 10 }),
      open(),
    ].map((script) => analyzeFrames(script.frames()).results.connections[0]!);
    expect(ends.map(({ endedBy, closedFirstBy }) => [endedBy, closedFirstBy])).toEqual([
      ['fin', 1],
      ['rst', 0],
      ['capture-end', null],
    ]);
  });

  test('beyond the limit the connection idle longest gives its id to the new one', () => {
    const frames = [syn(1, 1), syn(2, 2), syn(1, 3), syn(3, 4)];
    const { connections, results, anomalies } = analyzeFrames(frames, { limit: 2, batchFrames: 1 });
    expect(results.connections.map(({ client }) => client.port)).toEqual([1, 3]);
    expect([connections.evicted, anomalies.map(({ code }) => code)]).toEqual([1, ['tcp/connections-full']]);
  });

  test('wanted ones keep theirs, as long as there are others', () => {
    const connections = new Connections(new AnomalyLog(), { limit: 2 });
    connections.prefer((id) => id === 0);
    const rows = createRows();
    for (let port = 1; port <= 5; port++) {
      const batch = batchOf([syn(port, port)], { firstFrame: port });
      decodeFrames(batch, rows);
      connections.place(batch, rows);
    }
    connections.trim();
    expect(connections.ids().map((id) => connections.identity(id).client.port)).toEqual([1, 5]);
    connections.prefer(() => true);
    const batch = batchOf([syn(6, 6)], { firstFrame: 6 });
    decodeFrames(batch, rows);
    connections.place(batch, rows);
    connections.trim();
    expect(connections.ids()).toHaveLength(2);
  });

  test('ten thousand connections through a table of a hundred: none is mistaken for another', () => {
    const frames = Array.from({ length: 10_000 }, (_, n) => syn(1 + n, n * 1000));
    const { connections, results } = analyzeFrames(frames, { limit: 100, batchFrames: 50 });
    expect(connections.evicted).toBe(9900);
    expect(results.connections.map(({ client }) => client.port).sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, n) => 9901 + n),
    );
    expect(results.connections.every(({ directions }) => directions[0].frames === 1)).toBe(true);
  });
});

describe('stream offsets', () => {
  test('count from the byte after the SYN, and go on over the end of the sequence space', () => {
    const script = new Script()
      .open()
      .client({ length: 1000 })
      .client({ seq: 1000, length: 500 })
      .server({ ack: 1500 });
    const rows = tracked(script.frames({ initialSeq: 2 ** 32 - 600 })).slice(3);
    expect(rows.map(({ offset, ackOffset, newBytes }) => [offset, ackOffset, newBytes])).toEqual([
      [0, 0, 1000],
      [1000, 0, 500],
      [0, 1500, 0],
    ]);
  });

  test('without a SYN the first frame of a side is offset 0; what lay before is negative', () => {
    const script = new Script()
      .server({ ack: 5000 })
      .client({ seq: 7000, length: 1000 })
      .server({ ack: 6000 })
      .client({ seq: 6000, length: 1000 });
    const rows = tracked(script.frames());
    expect(rows.map(({ offset }) => offset)).toEqual([0, 0, 0, -1000]);
    expect(rows.map(({ ackOffset }) => ackOffset)).toEqual([Number.NaN, 0, -1000, 0]);
  });

  test.each([
    [1, 0, 2, 3],
    [2, 0, 1, 3],
    [3, 0, 1, 2],
    [0, 2, 3, 1],
    [1, 2, 3, 0],
  ])('are the same when taps put the first frames in the order %i %i %i %i', (...order) => {
    const script = new Script().open();
    script.client({ length: 1000 }).server({ ack: 1000, length: 10 }).client({ seq: 1000, ack: 10, length: 500 });
    const frames = script.frames();
    const taken = [...order.map((n) => ({ ...frames[n]!, tNs: 1000 })), ...frames.slice(order.length)];
    const data = tracked(taken).filter(({ newBytes }) => newBytes > 0);
    expect(data.map(({ offset, newBytes }) => [offset, newBytes])).toEqual([
      [0, 1000],
      [0, 10],
      [1000, 500],
    ]);
  });

  test('a FIN is not a byte, whichever order its acknowledgement comes in', () => {
    const closing = { flags: 'FA', seq: 10 };
    const inOrder = new Script().open().client({ length: 10 }).client(closing).server({ ack: 11 });
    const ackFirst = new Script().open().client({ length: 10 }).server({ ack: 11 }).client(closing).server({ ack: 11 });
    for (const script of [inOrder, ackFirst]) {
      const { directions } = analyzeFrames(script.frames()).results.connections[0]!;
      expect([directions[0].unseenBytes, directions[0].uniqueBytes]).toEqual([0, 10]);
    }
  });

  test('a stream longer than 4 GiB that the capture shows in places only', () => {
    const script = new Script().open();
    const steps = [0, 1.9e9, 3.7e9, 5.4e9];
    for (const seq of steps) script.client({ seq, length: 1000, afterMs: 1000 }).server({ ack: seq + 1000 });
    const rows = tracked(script.frames()).filter(({ direction, newBytes }) => direction === 0 && newBytes > 0);
    expect(rows.map(({ offset }) => offset)).toEqual(steps);
  });

  test('a jump beyond any window is believed when a second frame confirms it', () => {
    const far = 1.5e9;
    const script = new Script().open().client({ length: 1000 });
    script.client({ seq: far, length: 1000, afterMs: 0.01 }).client({ seq: far + 1000, length: 1000, afterMs: 0.01 });
    expect(verdicts(script).slice(3)).toEqual([VERDICT_NEW, VERDICT_OUT_OF_WINDOW, VERDICT_NEW]);
  });

  test('a silence in which the numbers can have wrapped: what seems far behind is far ahead, and that is said', () => {
    const script = new Script().open();
    for (let n = 0; n < 400; n++) script.client({ seq: n * 5e4, length: 5e4, afterMs: 0.01 });
    script.server({ ack: 20e6 });
    const far = 3e9;
    script.client({ seq: far, length: 1000, afterMs: 1000 }).client({ seq: far + 1000, length: 1000 });
    script
      .server({ ack: far + 2000 })
      .client({ seq: far + 2000, length: 1000, afterMs: 50 })
      .server({ ack: far + 3000 });
    const { results, anomalies } = analyzeFrames(script.frames());
    const [direction] = results.connections[0]!.directions;
    expect([direction.uniqueBytes, direction.unseenBytes]).toEqual([20e6 + 2000, far - 20e6 + 1000]);
    expect(anomalies.map(({ code }) => code).sort()).toEqual(['tcp/acked-unseen', 'tcp/sequence-ambiguous']);
  });

  test('a frame from far behind is left aside', () => {
    const script = new Script().open().client({ length: 1000 }).server({ ack: 1000 });
    script.client({ seq: -1.2e9, length: 1000 }).client({ seq: 1000, length: 1000 });
    expect(verdicts(script).slice(5)).toEqual([VERDICT_OUT_OF_WINDOW, VERDICT_NEW]);
  });
});

describe('verdicts', () => {
  const open = (): Script => new Script().open();

  test('a hole filled by an older timestamp was reordered, by a newer one retransmitted', () => {
    const fill = (tsValue: number): number[] =>
      verdicts(
        open()
          .client({ length: 100, tsValue: 2000 })
          .client({ seq: 200, length: 100, tsValue: 2002 })
          .client({ seq: 100, length: 100, tsValue, ipId: 400, afterMs: 50 }),
      ).slice(-1);
    expect([fill(2001), fill(2060)]).toEqual([[VERDICT_REORDERED], [VERDICT_RETRANSMISSION]]);
  });

  test('within one tick the IP identification decides', () => {
    const fill = (ipId: number): number[] =>
      verdicts(
        open()
          .client({ length: 100, tsValue: 2000, ipId: 10 })
          .client({ seq: 200, length: 100, tsValue: 2000, ipId: 12 })
          .client({ seq: 100, length: 100, tsValue: 2000, ipId, afterMs: 0.1 }),
      ).slice(-1);
    expect([fill(11), fill(13)]).toEqual([[VERDICT_REORDERED], [VERDICT_RETRANSMISSION]]);
  });

  test('bytes seen before: again with a new identification, late with an older timestamp', () => {
    const again = (words: object): number[] =>
      verdicts(
        open()
          .client({ length: 100, tsValue: 2000, ipId: 10 })
          .client({ seq: 100, length: 100, tsValue: 2003, ipId: 11 })
          .client({ seq: 100, length: 100, afterMs: 30, ...words }),
      ).slice(-1);
    expect(again({ tsValue: 2033, ipId: 12 })).toEqual([VERDICT_RETRANSMISSION]);
    expect(again({ tsValue: 2001, ipId: 9 })).toEqual([VERDICT_LATE_ORIGINAL]);
    expect(again({ tsValue: 2003, ipId: 11, ack: 0, window: 9 })).toEqual([VERDICT_NETWORK_DUPLICATE]);
  });

  test('an identical frame is a duplicate of the network; on another interface, of the capture', () => {
    const script = open().client({ length: 100 }).server({ ack: 100 });
    const frames = script.frames();
    const copy = { ...frames[3]!, tNs: frames[3]!.tNs! + 5000 };
    expect(tracked([...frames.slice(0, 4), copy, frames[4]!])[4]!.verdict).toBe(VERDICT_NETWORK_DUPLICATE);
    const tagged = {
      ...copy,
      bytes: Uint8Array.from([...copy.bytes.slice(0, 12), 0x81, 0, 0, 7, ...copy.bytes.slice(12)]),
    };
    expect(tracked([...frames.slice(0, 4), tagged, frames[4]!])[4]!.verdict).toBe(VERDICT_CAPTURE_DUPLICATE);
  });

  test('one reset for every segment on its way to who has closed: none is a copy, the second of a pair is', () => {
    const script = open();
    for (let n = 0; n < 40; n++) {
      script.client({ seq: n * 100, length: 100, afterMs: 0.1 });
      script.server({ flags: 'R', seq: 0, ipId: 0, tsValue: -1, afterMs: 0.01 });
    }
    const copies = (frames: readonly CapturedFrame[]) => {
      const [, server] = analyzeFrames(frames).results.connections[0]!.directions;
      return [server.networkDuplicates + server.captureDuplicates, server.frames];
    };
    const frames = script.frames();
    expect(copies(frames)).toEqual([0, 41]);
    expect(copies(frames.flatMap((item) => [item, item]))).toEqual([41, 82]);
  });

  test('offloaded frames at one host, their segments at the other, in one capture: copies, whatever cuts them', () => {
    const { sender, receiver } = transfer({ bytes: 2_000_000, segmentBytes: 14_480, oneWayNs: 10e6 });
    let next = 1;
    const counted = (packets: typeof sender) =>
      packets.map((packet) => {
        const ipId = next;
        if (packet.fromSender) next = (next + Math.max(1, Math.ceil(packet.length / 1448))) & 0xffff;
        return packet.fromSender ? { ...packet, ipId } : packet;
      });
    const near = counted(sender);
    const ids = new Map(
      near
        .filter(({ fromSender }) => fromSender)
        .map(({ seq, flags, length, ipId }) => [`${seq}${flags}${length}`, ipId]),
    );
    const far = receiver.map((packet) =>
      packet.fromSender ? { ...packet, ipId: ids.get(`${packet.seq}${packet.flags}${packet.length}`)! } : packet,
    );
    const frames = [...framesOf(near), ...expanded(framesOf(far), 1448)].sort((a, b) => a.tNs! - b.tNs!);
    const [direction] = analyzeFrames(frames).results.connections[0]!.directions;
    expect([direction.retransmittedSegments, direction.networkDuplicates]).toEqual([0, 0]);
    expect([direction.uniqueBytes, direction.payloadBytes]).toEqual([2_000_000, 2_000_000]);
  });

  test('the same without identification, on a host that forwards: what goes out is cut from what came in', () => {
    const { sender } = transfer({
      bytes: 2_000_000,
      segmentBytes: 2896,
      oneWayNs: 10e6,
      lose: (_, source) => source.next() < 0.01,
    });
    const twice = sender.flatMap((packet) => {
      const { seq, length, tNs } = packet;
      if (length <= 1448) return [packet, { ...packet, tNs: tNs + 2e3 }];
      return [
        packet,
        { ...packet, length: 1448, tNs: tNs + 2e3 },
        { ...packet, seq: seq + 1448, length: length - 1448, tNs: tNs + 3e3 },
      ];
    });
    twice.sort((a, b) => a.tNs - b.tNs);
    const [once, copied] = [sender, twice].map((packets) => {
      const [direction] = analyzeFrames(framesOf(packets, { ipVersion: 6 })).results.connections[0]!.directions;
      return [direction.retransmittedSegments, direction.uniqueBytes];
    });
    expect(once![0]).toBeGreaterThan(0);
    expect(copied).toEqual(once);
  });

  test('bytes acknowledged and never seen are declared missing, after a moment', () => {
    const script = open()
      .client({ length: 1000 })
      .server({ ack: 3000 })
      .client({ seq: 3000, length: 1000, afterMs: 5 })
      .server({ ack: 4000, afterMs: 5 })
      .server({ ack: 4000, afterMs: 5 });
    const rows = tracked(script.frames());
    expect(rows.reduce((sum, { unseenBytes }) => sum + unseenBytes, 0)).toBe(2000);
    const { results, anomalies } = analyzeFrames(script.frames());
    expect(results.connections[0]!.directions[0].unseenBytes).toBe(2000);
    expect(anomalies.map(({ code }) => code)).toEqual(['tcp/acked-unseen']);
  });

  test('an acknowledgement captured just before its data misses nothing', () => {
    const script = open()
      .server({ ack: 1000 })
      .client({ length: 1000, afterMs: 0.01 })
      .server({ ack: 1000, afterMs: 10 });
    expect(verdicts(script).slice(4, 5)).toEqual([VERDICT_NEW]);
    expect(analyzeFrames(script.frames()).results.connections[0]!.directions[0].unseenBytes).toBe(0);
  });

  test('an acknowledgement long before its data: a frame it echoes, or the next in sequence, was not sent again', () => {
    const late = (words: object): number[] =>
      verdicts(
        open()
          .client({ length: 1000, tsValue: 2000, ipId: 102 })
          .server({ ack: 2000, tsEcho: 2001 })
          .client({ seq: 1000, length: 1000, afterMs: 30, ...words }),
      ).slice(-1);
    expect(late({ tsValue: 2001, ipId: 104 })).toEqual([VERDICT_NEW]);
    expect(late({ tsValue: 2040, ipId: 103 })).toEqual([VERDICT_NEW]);
    expect(late({ tsValue: 2040, ipId: 104 })).toEqual([VERDICT_RETRANSMISSION]);
  });

  test('nobody repeats data within a millisecond unless the peer asked for it, be the path ever so short', () => {
    const fill = (reported: boolean): number[] => {
      const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 0.03 });
      script.client({ afterMs: 0.01 }).client({ length: 100, tsValue: 2000 }).server({ ack: 100, afterMs: 0.03 });
      script.client({ seq: 200, length: 100, tsValue: 2000, afterMs: 0.1 });
      if (reported) script.server({ ack: 100, blocks: [[200, 300]], afterMs: 0.01 });
      script.client({ seq: 100, length: 100, tsValue: 2000, afterMs: 0.5 });
      return tracked(script.frames({ ipVersion: 6 }))
        .map(({ verdict }) => verdict)
        .slice(-1);
    };
    expect([fill(false), fill(true)]).toEqual([[VERDICT_REORDERED], [VERDICT_RETRANSMISSION]]);
  });

  test('an empty frame one byte back: a keep-alive, or against a closed window a probe', () => {
    const idle = open()
      .client({ length: 10 })
      .server({ ack: 10 })
      .client({ seq: 9, afterMs: 7000 })
      .server({ ack: 10 });
    const closed = open()
      .client({ length: 10 })
      .server({ ack: 10, window: 0 })
      .client({ seq: 9, afterMs: 200 })
      .server({ ack: 10, window: 0 });
    expect([verdicts(idle)[5], verdicts(closed)[5]]).toEqual([VERDICT_KEEP_ALIVE, VERDICT_WINDOW_PROBE]);
  });

  test('what the sender had in flight when it sent', () => {
    const script = open().client({ length: 100 }).client({ seq: 100, length: 100 }).server({ ack: 100 });
    script.client({ seq: 200, length: 100 });
    expect(tracked(script.frames()).map(({ flight }) => flight)).toEqual([
      Number.NaN,
      Number.NaN,
      Number.NaN,
      100,
      200,
      Number.NaN,
      200,
    ]);
  });
});

describe('two hosts next to each other', () => {
  const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, afterMs: 0.01 });
  script.client({ afterMs: 0.01 });
  for (let n = 0; n < 8; n++)
    script.client({ seq: n * 100, length: 100 }).server({ ack: (n + 1) * 100, afterMs: 0.01 });
  const { packets } = script;
  const frames = script.frames();
  const vantage = (items: readonly CapturedFrame[], setting: TcpSetting = {}): string =>
    analyzeFrames(items, setting).results.connections[0]!.vantage;
  /** Linux cooked frames (SLL): packet type 4 goes out, 0 comes in. */
  const cooked = (types: (fromClient: boolean) => readonly number[]): CapturedFrame[] =>
    frames.flatMap((item, n) =>
      types(packets[n]!.fromSender).map((type) => ({
        ...item,
        bytes: Uint8Array.from([0, type, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, ...item.bytes.slice(12)]),
        wire: item.wire! + 2,
      })),
    );

  test('times do not tell which of them captured', () => {
    expect(vantage(frames)).toBe('unknown');
  });

  test('the host that marks its own frames as going out did', () => {
    expect(
      vantage(
        cooked((own) => [own ? 4 : 0]),
        { linkType: 113 },
      ),
    ).toBe('source');
    expect(
      vantage(
        cooked((own) => [own ? 0 : 4]),
        { linkType: 113 },
      ),
    ).toBe('destination');
  });

  test('a host that forwards marks every frame both ways, which tells nothing', () => {
    expect(
      vantage(
        cooked(() => [0, 4]),
        { linkType: 113 },
      ),
    ).toBe('unknown');
  });

  test('the host that leaves checksums to its network card did; where nobody finishes them, nothing is said', () => {
    const unfinished = (item: CapturedFrame): CapturedFrame => {
      const bytes = item.bytes.slice();
      const view = new DataView(bytes.buffer);
      let sum = 6 + (view.getUint16(16) - 20);
      for (let at = 26; at < 34; at += 2) sum += view.getUint16(at);
      view.setUint16(34 + 16, (sum & 0xffff) + (sum >>> 16));
      return { ...item, bytes };
    };
    const marked = (which: (fromClient: boolean) => boolean): CapturedFrame[] =>
      frames.map((item, n) => (which(packets[n]!.fromSender) ? unfinished(item) : item));
    expect(vantage(marked((own) => own))).toBe('source');
    expect(vantage(marked((own) => !own))).toBe('destination');
    expect(vantage(marked(() => true))).toBe('unknown');
  });
});

test('met midway, offloaded frames that echo late and are answered at once: a path, or a shaper of the sender’s own host', () => {
  const met = (length: number, echoMs: number): string => {
    const script = new Script();
    for (let n = 0; n < 200; n++) {
      script.client({ seq: n * length, length, tsValue: n, tsEcho: 5000 + n - echoMs, afterMs: 1 });
      script.server({ ack: (n + 1) * length, tsValue: 5000 + n, tsEcho: n, afterMs: 0.004 });
    }
    return analyzeFrames(script.frames()).results.connections[0]!.vantage;
  };
  expect([met(28_960, 8), met(1448, 8), met(28_960, 40)]).toEqual(['unknown', 'destination', 'destination']);
});

describe('what cannot be known', () => {
  test('one direction alone: no window, no round trip, no limits, and it says so', () => {
    const { sender } = transfer({ bytes: 300_000 });
    const { results, anomalies } = analyzeFrames(framesOf(sender.filter(({ fromSender }) => fromSender)));
    const { window, rttNs, inFlight, limitedBy, ackedBytes, uniqueBytes } = results.connections[0]!.directions[0];
    expect({ window, rttNs, inFlight, limitedBy, ackedBytes }).toEqual({
      window: null,
      rttNs: null,
      inFlight: null,
      limitedBy: null,
      ackedBytes: null,
    });
    expect([uniqueBytes, anomalies.map(({ code }) => code)]).toEqual([300_000, ['tcp/one-sided']]);
  });

  test('one direction alone, lossy: all repetitions are counted at either end, and what triggered them is open', () => {
    // The first frames show how much a segment carries; until then a loss between them is taken for an offloaded frame.
    const lossy = transfer({ bytes: 2_000_000, oneWayNs: 10e6, lose: (n, source) => n > 9 && source.next() < 0.05 });
    expect(lossy.truth.retransmitted).toBeGreaterThan(20);
    for (const end of [lossy.sender, lossy.receiver]) {
      const frames = framesOf(end.filter(({ fromSender }) => fromSender));
      const { retransmittedSegments, retransmittedAtLeast, retransmissions } = bulk(analyzeFrames(frames)).direction;
      expect(retransmittedSegments).toBe(lossy.truth.retransmitted);
      expect(retransmittedAtLeast).toBe(false);
      expect(retransmissions.other).toBe(retransmittedSegments);
    }
  });

  test('one direction alone, offloaded, with no SYN to tell the segment size: identifications not understood are not missing', () => {
    const script = new Script();
    for (let n = 0; n < 40; n++) script.client({ seq: 14_480 * n, length: 14_480, ipId: 7 + 10 * n, tsValue: n });
    expect(bulk(analyzeFrames(script.frames())).direction).toMatchObject({ retransmittedSegments: 0 });
  });

  test('one direction alone, where nothing was lost before: identifications that its sender’s own queue dropped are no repetitions', () => {
    const script = new Script();
    for (let n = 0; n < 200; n++) script.client({ seq: 1448 * n, length: 1448, ipId: n + (n >> 4), tsValue: n });
    script.client({ seq: 1448 * 150, length: 1448, ipId: 400, tsValue: 300 });
    expect(bulk(analyzeFrames(script.frames())).direction).toMatchObject({
      retransmittedSegments: 1,
      inferredRetransmissions: 0,
    });
  });

  test('one direction alone over IPv6: what does not come by leaves no trace, and it says so', () => {
    const lossy = transfer({ bytes: 2_000_000, oneWayNs: 10e6, lose: (_, source) => source.next() < 0.05 });
    const frames = framesOf(
      lossy.receiver.filter(({ fromSender }) => fromSender),
      { ipVersion: 6 },
    );
    expect(bulk(analyzeFrames(frames)).direction.retransmittedAtLeast).toBe(true);
  });

  test('acknowledgements alone: that the data they acknowledge is not there is said', () => {
    const { receiver } = transfer({ bytes: 300_000 });
    const { anomalies } = analyzeFrames(framesOf(receiver.filter(({ fromSender }) => !fromSender)));
    expect(anomalies.map(({ code }) => code)).toEqual(['tcp/one-sided']);
  });

  test('one side of a connection without data: its acknowledgement of a FIN speaks of none', () => {
    const script = new Script().server({ seq: 0, ack: 7000 }).server({ seq: 0, ack: 7001 });
    expect(analyzeFrames(script.frames()).anomalies).toEqual([]);
  });

  test('a window scale that no SYN told is inferred from a receiver that does not read', () => {
    const script = new Script().client({ length: 1 });
    for (let n = 0; n < 8; n++) {
      const seq = 1 + n * 12_800;
      script.client({ seq, length: 12_800 }).server({ ack: seq + 12_800, window: 2000 - (n + 1) * 100 });
    }
    const [direction] = analyzeFrames(script.frames()).results.connections[0]!.directions;
    expect([direction.windowScaleInferred, direction.window!.min, direction.window!.max]).toEqual([
      true,
      1200 * 128,
      1900 * 128,
    ]);
  });

  test('without SYNs and without such a receiver windows stay unknown', () => {
    const { sender } = transfer({ bytes: 300_000 });
    const [direction] = analyzeFrames(framesOf(sender).slice(3)).results.connections[0]!.directions;
    expect([direction.window, direction.windowScaleInferred]).toEqual([null, false]);
  });

  test('timestamps that only the SYN offered are not in use, and segments are full without them', () => {
    const script = new Script().client({ flags: 'S', seq: -1 }).server({ flags: 'SA', seq: -1, tsValue: -1 });
    script.client({ tsValue: -1 }).client({ length: 14_600, tsValue: -1 }).server({ ack: 14_600, tsValue: -1 });
    const { options, directions } = analyzeFrames(script.frames()).results.connections[0]!;
    expect([options.timestamps, directions[0].wireSegments]).toEqual([false, 10]);
  });

  test('cut options are unknown, not absent', () => {
    const { sender } = transfer({ bytes: 300_000 });
    const { options } = analyzeFrames(cut(framesOf(sender), 54)).results.connections[0]!;
    expect(options).toEqual({ mss: [null, null], windowScale: [null, null], sack: null, timestamps: null });
  });
});
