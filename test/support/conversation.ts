// TCP conversations with known truth: a small sender and receiver over a path that loses, delays, duplicates and limits,
// watched at both ends. And ways to change a recorded conversation: double, shift, cut, thin out, expand.
//
// The sender is a simplified Linux: SACK-based loss detection, retransmission timer with back-off, tail loss probe,
// timestamps in milliseconds, one IP identification a segment. Shares no code with the analysis.
import {
  type CapturedFrame,
  ethernet,
  frame,
  ipv4,
  ipv6,
  mss,
  sack,
  sackPermitted,
  tcp,
  timestamps,
  windowScale,
} from './frames.js';
import { type Random, random } from './random.js';

export interface Packet {
  tNs: number;
  /** True for the side that sends the data (the client). */
  fromSender: boolean;
  /** Relative numbers; SYN has −1. */
  seq: number;
  ack: number;
  flags: string;
  window: number;
  length: number;
  tsValue: number;
  tsEcho: number;
  blocks: (readonly [number, number])[];
  ipId: number;
  truth: 'control' | 'new' | 'fast' | 'timeout' | 'probe' | 'ack';
}

export interface TransferOptions {
  readonly seed?: number;
  readonly bytes?: number;
  readonly segmentBytes?: number;
  readonly oneWayNs?: number;
  /** Line rate, bytes per second. */
  readonly rate?: number;
  /** Whether data packet number `n` (from 0, retransmissions count) is lost. */
  readonly lose?: (n: number, source: Random) => boolean;
  /** Extra delay of data packet `n`, ns. */
  readonly delay?: (n: number, source: Random) => number;
  readonly duplicate?: (n: number, source: Random) => boolean;
  readonly loseAck?: (n: number, source: Random) => boolean;
  readonly sack?: boolean;
  readonly timestamps?: boolean;
  /** Receive buffer in bytes, and how fast the receiving application reads it (bytes per second). */
  readonly bufferBytes?: number;
  readonly readRate?: number;
  /** Largest congestion window, segments. */
  readonly cwndMax?: number;
  /** What the sender keeps of its congestion window after a loss; 0.7 if not given. */
  readonly keep?: number;
  /** The application writes `bytes` every `everyNs`; otherwise all at once. */
  readonly slices?: { readonly bytes: number; readonly everyNs: number };
}

export interface Transfer {
  readonly sender: Packet[];
  readonly receiver: Packet[];
  /** As the sender's kernel would count, segments. */
  readonly truth: {
    retransmitted: number;
    fast: number;
    timeout: number;
    probe: number;
    lost: number;
    duplicated: number;
  };
  /** Largest number of bytes that were in flight at the sender. */
  readonly flightMax: number;
}

const SHIFT = 7;
const PROMPT_NS = 20e3;
/** Between frames that the sender hands over at once. */
const SPACING_NS = 1000;
const TIMER_MIN_NS = 200e6;

interface Segment {
  start: number;
  end: number;
  sentNs: number;
  sends: number;
  sacked: boolean;
  lost: boolean;
}

/** Simulates one transfer until everything is acknowledged. */
export function transfer(options: TransferOptions = {}): Transfer {
  const source = random(options.seed ?? 1);
  const total = options.bytes ?? 1_000_000;
  const size = options.segmentBytes ?? 1448;
  const oneWayNs = options.oneWayNs ?? 5e6;
  const nsPerByte = 1e9 / (options.rate ?? 100e6);
  const useSack = options.sack ?? true;
  const stamped = options.timestamps ?? true;
  const bufferBytes = options.bufferBytes ?? 4_000_000;
  const atSender: Packet[] = [];
  const atReceiver: Packet[] = [];
  const truth = { retransmitted: 0, fast: 0, timeout: 0, probe: 0, lost: 0, duplicated: 0 };
  let flightMax = 0;

  // Events in time order.
  const queue: { tNs: number; order: number; run: () => void }[] = [];
  let order = 0;
  let now = 0;
  const at = (tNs: number, run: () => void): void => {
    const event = { tNs, order: order++, run };
    let low = 0;
    let high = queue.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (queue[middle]!.tNs <= tNs) low = middle + 1;
      else high = middle;
    }
    queue.splice(low, 0, event);
  };
  const tick = (tNs: number): number => Math.floor(tNs / 1e6) + 5_000_000;

  // Sender.
  let written = options.slices ? 0 : total;
  let next = 0;
  let una = 0;
  let segments: Segment[] = [];
  let cwnd = 10;
  let threshold = Number.POSITIVE_INFINITY;
  let windowEdge = 65_535;
  let recoverUntil = -1;
  let afterTimeout = false;
  let repeated = 0;
  let backoff = 1;
  let probed = false;
  let smoothed = 2 * oneWayNs;
  let timer = 0;
  let echo = 0;
  let senderId = 100;
  let receiverId = 7000;
  let sentCount = 0;
  let ackCount = 0;
  let lineFreeNs = 0;
  let departNs = 0;

  // Receiver.
  let received = 0;
  let kept: [number, number][] = [];
  let unacked = 0;
  let recent = 0;
  let buffered = 0;
  let readNs = 0;
  let delayed = 0;

  const reading = (): number => {
    if (options.readRate === undefined) {
      buffered = 0;
      return 0;
    }
    buffered = Math.max(0, buffered - ((now - readNs) * options.readRate) / 1e9);
    readNs = now;
    return buffered;
  };
  const windowNow = (): number => {
    const free = Math.max(0, bufferBytes - reading());
    return free < size ? 0 : Math.floor(free / 2 ** SHIFT);
  };

  const carry = (packet: Packet): void => {
    departNs = Math.max(now, departNs + SPACING_NS);
    atSender.push({ ...packet, tNs: departNs });
    const n = sentCount++;
    if (options.lose?.(n, source)) {
      truth.lost++;
      return;
    }
    lineFreeNs = Math.max(lineFreeNs, departNs) + (packet.length + 52) * nsPerByte;
    const arriveNs = lineFreeNs + oneWayNs + (options.delay?.(n, source) ?? 0);
    const arrive = (): void => {
      atReceiver.push({ ...packet, tNs: now });
      receive(packet);
    };
    at(arriveNs, arrive);
    if (options.duplicate?.(n, source)) {
      truth.duplicated++;
      at(arriveNs + 50e3, arrive);
    }
  };
  const answer = (packet: Packet): void => {
    atReceiver.push({ ...packet, tNs: now });
    if (packet.truth === 'ack' && options.loseAck?.(ackCount++, source)) return;
    at(now + oneWayNs, () => {
      atSender.push({ ...packet, tNs: now });
      acknowledged(packet);
    });
  };

  const send = (segment: Segment, why: Packet['truth']): void => {
    segment.sends++;
    segment.sentNs = now;
    segment.lost = false;
    if (why !== 'new') {
      truth.retransmitted++;
      truth[why as 'fast' | 'timeout' | 'probe']++;
    }
    flightMax = Math.max(flightMax, next - una);
    const length = segment.end - segment.start;
    const ipId = senderId++ & 0xffff;
    carry({
      tNs: 0,
      fromSender: true,
      seq: segment.start,
      ack: 0,
      flags: 'A',
      window: 502,
      length,
      tsValue: tick(now),
      tsEcho: echo,
      blocks: [],
      ipId,
      truth: why,
    });
  };
  const outstanding = (): number => segments.filter((s) => !s.sacked && !s.lost).length;
  const pump = (): void => {
    for (let pipe = outstanding(); pipe < cwnd; pipe++) {
      const lost = segments.find((s) => s.lost && !s.sacked);
      if (lost) {
        // Linux counts a retransmission after a timeout apart; here the timer's own is 'timeout', the rest is 'fast'.
        send(lost, 'fast');
        continue;
      }
      const length = Math.min(size, written - next, windowEdge - next);
      if (length <= 0 || (length < size && length < written - next)) break;
      const segment = { start: next, end: next + length, sentNs: now, sends: 0, sacked: false, lost: false };
      segments.push(segment);
      next += length;
      send(segment, 'new');
    }
    arm();
  };
  const arm = (): void => {
    const mine = ++timer;
    if (segments.length === 0) return;
    const timeoutNs = (smoothed + TIMER_MIN_NS) * backoff;
    const first = segments[0]!;
    const mayProbe = useSack && !probed && recoverUntil < 0 && !segments.some((s) => s.sacked) && backoff === 1;
    const probeNs = segments.length === 1 ? timeoutNs : 2 * smoothed + 4e6;
    const due = mayProbe ? Math.min(probeNs, timeoutNs) : timeoutNs;
    const base = mayProbe ? segments[segments.length - 1]!.sentNs : Math.max(first.sentNs, now - timeoutNs);
    at(Math.max(now + 1, base + due), () => {
      if (timer !== mine) return;
      if (mayProbe) {
        probed = true;
        send(segments[segments.length - 1]!, 'probe');
      } else {
        backoff *= 2;
        for (const s of segments) if (!s.sacked) s.lost = true;
        threshold = Math.max(2, cwnd / 2);
        cwnd = 1;
        recoverUntil = next;
        afterTimeout = true;
        send(first, 'timeout');
      }
      arm();
    });
  };
  const acknowledged = (packet: Packet): void => {
    if (packet.flags !== 'A') return;
    echo = packet.tsValue;
    windowEdge = Math.max(windowEdge, packet.ack + packet.window * 2 ** SHIFT);
    const advanced = packet.ack > una;
    if (advanced) {
      const newest = segments.filter((s) => s.end <= packet.ack).pop();
      if (newest?.sends === 1) smoothed += (now - newest.sentNs - smoothed) / 8;
      segments = segments.filter((s) => s.end > packet.ack);
      una = packet.ack;
      repeated = 0;
      backoff = 1;
      probed = false;
      if (una >= recoverUntil) {
        recoverUntil = -1;
        afterTimeout = false;
      }
      if (recoverUntil < 0 || afterTimeout) {
        cwnd = Math.min(options.cwndMax ?? 200, cwnd < threshold ? cwnd + 2 : cwnd + 1 / cwnd);
      }
    } else if (segments.length > 0) repeated++;
    for (const s of segments) {
      if (packet.blocks.some(([left, right]) => s.start >= left && s.end <= right)) s.sacked = true;
    }
    const above = segments.filter((s) => s.sacked);
    const highest = above.length > 0 ? above[above.length - 1]!.end : 0;
    // A segment is lost when three segments above it have arrived; what was sent again gets a round trip.
    const overtaken = (s: Segment): boolean =>
      useSack ? highest >= s.end + 3 * size : s === segments[0] && (repeated >= 3 || recoverUntil >= 0);
    for (const s of segments) {
      if (s.sacked || s.lost || !overtaken(s)) continue;
      if (s.sends > 1 && now - s.sentNs < 1.3 * smoothed) continue;
      s.lost = true;
      if (recoverUntil < 0) {
        recoverUntil = next;
        threshold = cwnd = Math.max(2, Math.floor(cwnd * (options.keep ?? 0.7)));
      }
    }
    pump();
  };

  const receive = (packet: Packet): void => {
    if (packet.length === 0) return;
    const { seq } = packet;
    const end = seq + packet.length;
    const inOrder = seq === received;
    const duplicate = end <= received || kept.some(([l, r]) => l <= seq && end <= r);
    let blocks: (readonly [number, number])[] = [];
    if (duplicate) blocks = [[seq, end]];
    else if (seq <= received) {
      if (seq <= received) recent = packet.tsValue;
      const before = received;
      received = Math.max(received, end);
      kept = kept.filter(([l, r]) => {
        if (l <= received) received = Math.max(received, r);
        return l > received;
      });
      reading();
      buffered += received - before;
    } else {
      kept.push([seq, end]);
      kept.sort((a, b) => a[0] - b[0]);
      const merged: [number, number][] = [];
      for (const range of kept) {
        const last = merged[merged.length - 1];
        if (last && range[0] <= last[1]) last[1] = Math.max(last[1], range[1]);
        else merged.push([range[0], range[1]]);
      }
      kept = merged;
    }
    const own = kept.find(([l, r]) => l <= seq && end <= r);
    const others = kept.filter((range) => range !== own).reverse();
    if (useSack) blocks = [...blocks, ...(own ? [own] : []), ...others].slice(0, 3).map(([l, r]) => [l, r] as const);
    unacked++;
    if (!inOrder || duplicate || unacked >= 2 || kept.length > 0 || end >= total) acknowledge(useSack ? blocks : []);
    else {
      const mine = ++delayed;
      at(now + 40e6, () => {
        if (mine === delayed && unacked > 0) acknowledge([]);
      });
    }
  };
  const acknowledge = (blocks: (readonly [number, number])[]): void => {
    unacked = 0;
    delayed++;
    const window = windowNow();
    answer({
      tNs: 0,
      fromSender: false,
      seq: 0,
      ack: received,
      flags: 'A',
      window,
      length: 0,
      tsValue: tick(now) + 77_000,
      tsEcho: recent,
      blocks,
      ipId: receiverId++ & 0xffff,
      truth: 'ack',
    });
    // The reader makes room again: announce it.
    if (window * 2 ** SHIFT < bufferBytes / 2 && options.readRate !== undefined) {
      at(now + (bufferBytes / 2 / options.readRate) * 1e9, () => {
        if (received < total) acknowledge([]);
      });
    }
  };

  const control = (fromSender: boolean, flags: string, seq: number, ack: number): Packet => ({
    tNs: now,
    fromSender,
    seq,
    ack,
    flags,
    window: 65_535,
    length: 0,
    tsValue: tick(now) + (fromSender ? 0 : 77_000),
    tsEcho: 0,
    blocks: [],
    ipId: fromSender ? senderId++ : receiverId++,
    truth: 'control',
  });
  const both = (packet: Packet): void => {
    const [near, far] = packet.fromSender ? [atSender, atReceiver] : [atReceiver, atSender];
    near.push({ ...packet, tNs: now });
    const copy = { ...packet, tNs: now + oneWayNs };
    at(now + oneWayNs, () => far.push(copy));
  };
  both(control(true, 'S', -1, 0));
  at(oneWayNs + PROMPT_NS, () => both(control(false, 'SA', -1, 0)));
  at(2 * oneWayNs + 2 * PROMPT_NS, () => {
    both(control(true, 'A', 0, 0));
    if (options.slices) {
      const { bytes, everyNs } = options.slices;
      const write = (): void => {
        written = Math.min(total, written + bytes);
        pump();
        if (written < total) at(now + everyNs, write);
      };
      write();
    } else pump();
  });
  while (queue.length > 0 && (una < total || written < total)) {
    const event = queue.shift()!;
    now = event.tNs;
    event.run();
  }
  for (const packets of [atSender, atReceiver]) packets.sort((a, b) => a.tNs - b.tNs);
  if (!stamped) for (const packet of [...atSender, ...atReceiver]) packet.tsValue = packet.tsEcho = -1;
  return { sender: atSender, receiver: atReceiver, truth, flightMax };
}

export interface FramesOptions {
  readonly initialSeq?: number;
  readonly initialAck?: number;
  readonly ipVersion?: 4 | 6;
  readonly mss?: number;
  readonly vlan?: boolean;
}

/** Frames of packets, headers only; lengths say what the payload was. */
export function framesOf(packets: readonly Packet[], options: FramesOptions = {}): CapturedFrame[] {
  const bases = [options.initialSeq ?? 1000, options.initialAck ?? 500_000];
  return packets.map((packet) => {
    const [own, other] = packet.fromSender ? [bases[0]!, bases[1]!] : [bases[1]!, bases[0]!];
    const syn = packet.flags.includes('S');
    const withSack = packets[0]?.tsValue !== undefined;
    const tcpOptions = [
      ...(syn ? [...mss(options.mss ?? 1460), ...windowScale(SHIFT), ...(withSack ? sackPermitted() : [])] : []),
      ...(packet.tsValue >= 0 ? timestamps(packet.tsValue >>> 0, packet.tsEcho >>> 0) : []),
      ...(packet.blocks.length > 0
        ? sack(...packet.blocks.map(([l, r]) => [raw(other, l), raw(other, r)] as const))
        : []),
    ];
    const segment = tcp({
      srcPort: packet.fromSender ? 40_000 : 49_152,
      dstPort: packet.fromSender ? 49_152 : 40_000,
      seq: raw(own, packet.seq),
      ack: packet.flags.includes('A') ? raw(other, packet.ack) : 0,
      flags: packet.flags,
      window: packet.window,
      options: tcpOptions,
    });
    const headerBytes = 20 + Math.ceil(tcpOptions.length / 4) * 4;
    const [src, dst] = packet.fromSender ? ['10.0.0.1', '10.0.0.2'] : ['10.0.0.2', '10.0.0.1'];
    const ip =
      options.ipVersion === 6
        ? ipv6({
            src: `fd00::${src.slice(-1)}`,
            dst: `fd00::${dst.slice(-1)}`,
            payloadLength: headerBytes + packet.length,
          })
        : ipv4({ src, dst, id: packet.ipId & 0xffff, totalLength: 20 + headerBytes + packet.length });
    const bytes = frame(ethernet(), ip, segment);
    return { bytes, wire: bytes.length + packet.length, tNs: packet.tNs };
  });
}

const raw = (base: number, relative: number): number => (base + 1 + relative) >>> 0;

// Changing recorded frames. They are Ethernet frames with IPv4 or IPv6 and TCP right inside.

const tcpAt = (bytes: Uint8Array): number => (bytes[12] === 0x08 ? 14 + (bytes[14]! & 15) * 4 : 54);
const isTcp = (bytes: Uint8Array): boolean =>
  bytes.length >= 54 &&
  (bytes[12] === 0x08 ? bytes[13] === 0 && bytes[23] === 6 : bytes[12] === 0x86 && bytes[20] === 6);

/** Every frame twice, the copy `lagNs` later. */
export const doubled = (frames: readonly CapturedFrame[], lagNs = 300): CapturedFrame[] =>
  frames
    .flatMap((item) => [item, { ...item, tNs: (item.tNs ?? 0) + lagNs }])
    .sort((a, b) => (a.tNs ?? 0) - (b.tNs ?? 0));

/** All sequence numbers of both sides moved by `by`. */
export function shifted(frames: readonly CapturedFrame[], by: number): CapturedFrame[] {
  return frames.map((item) => {
    if (!isTcp(item.bytes)) return item;
    const bytes = item.bytes.slice();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const at = tcpAt(bytes);
    const move = (where: number): void => view.setUint32(where, (view.getUint32(where) + by) >>> 0);
    move(at + 4);
    if (bytes[at + 13]! & 0x10) move(at + 8);
    const end = Math.min(bytes.length, at + (bytes[at + 12]! >> 4) * 4);
    for (let option = at + 20; option < end; ) {
      const kind = bytes[option]!;
      if (kind === 0) break;
      if (kind === 1) {
        option++;
        continue;
      }
      const length = bytes[option + 1]!;
      if (kind === 5) for (let edge = option + 2; edge < option + length; edge += 4) move(edge);
      if (length < 2) break;
      option += length;
    }
    return { ...item, bytes };
  });
}

/** Every frame cut after `length` bytes. */
export const cut = (frames: readonly CapturedFrame[], length: number): CapturedFrame[] =>
  frames.map((item) => ({
    ...item,
    bytes: item.bytes.subarray(0, length),
    wire: item.wire ?? item.bytes.length,
  }));

/** Offloaded IPv4 frames as the segments they become on the wire, `segmentBytes` of payload each. */
export function expanded(frames: readonly CapturedFrame[], segmentBytes: number): CapturedFrame[] {
  return frames.flatMap((item) => {
    if (!isTcp(item.bytes) || item.bytes[12] !== 0x08) return [item];
    const at = tcpAt(item.bytes);
    const headers = at - 14 + (item.bytes[at + 12]! >> 4) * 4;
    const source = new DataView(item.bytes.buffer, item.bytes.byteOffset, item.bytes.length);
    const wire = item.wire ?? item.bytes.length;
    const payload = (source.getUint16(16) || wire - 14) - headers;
    if (payload <= segmentBytes) return [item];
    return Array.from({ length: Math.ceil(payload / segmentBytes) }, (_, n) => {
      const length = Math.min(segmentBytes, payload - n * segmentBytes);
      const bytes = item.bytes.slice(0, 14 + headers);
      const view = new DataView(bytes.buffer);
      view.setUint16(16, headers + length);
      view.setUint16(18, (source.getUint16(18) + n) & 0xffff);
      view.setUint32(at + 4, (source.getUint32(at + 4) + n * segmentBytes) >>> 0);
      return { ...item, bytes, wire: 14 + headers + length };
    });
  });
}
