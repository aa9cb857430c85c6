// UdpFlows: who else is on the wire. Every flow without TCP: how much, when, and by its transport what was lost.
//
// Transports are tried in order on the first datagrams of a flow; from then on every row goes to the one that spoke up.
import type { AnomalyLog } from '../../anomaly.js';
import type { PacketBatch } from '../../capture/packet-batch.js';
import type { ColumnData } from '../../columns.js';
import { UDP_RECOGNITION_DATAGRAMS, UDP_TIMELINE_BYTES, UDP_TIMELINES } from '../../limits.js';
import { PROTOCOL_ESP, PROTOCOL_UDP } from '../ip.js';
import { KIND_OTHER_IP, KIND_ROCE_V1, KIND_UDP, type SegmentRows } from '../rows.js';
import type { ClaimStream } from '../stream.js';
import { DatagramCopies } from './copies.js';
import { dtls } from './dtls.js';
import { esp } from './esp.js';
import { Flow, type Transport } from './flow.js';
import { FlowTable } from './flow-table.js';
import { openvpn } from './openvpn.js';
import { quic } from './quic.js';
import type { RdmaConsumer } from './rdma.js';
import type { UdpEndpoint, UdpFlow, UdpResults } from './results.js';
import { ROCE_PORT, roce } from './roce.js';
import { StreamSource } from './streams.js';
import { TunnelTotals } from './tunnel-totals.js';
import { udt } from './udt.js';
import { wireguard } from './wireguard.js';

export class UdpFlows {
  readonly #log: AnomalyLog;
  readonly #streams: StreamSource;
  readonly #transports: readonly Transport[];
  readonly #table = new FlowTable();
  /** By entry of the table. */
  #flows: Flow[] = [];
  /** By flow: whether its first sender is the higher endpoint of the key. */
  #clientIsHigher: boolean[] = [];
  #timelines: Flow[] = [];
  #nextId = 0;
  /** Null before the first datagram. */
  #copies: DatagramCopies | null = null;
  readonly #tunnels = new TunnelTotals();
  #tunnelPaths: SegmentRows['tunnels'] = [];

  /**
   * @param claim  asked for a consumer of every byte stream that a reliable transport carries
   * @param rdma   receives what RDMA migrations write beside their byte stream
   */
  constructor(log: AnomalyLog, claim: ClaimStream, rdma: RdmaConsumer | null = null) {
    this.#log = log;
    this.#streams = new StreamSource(claim, rdma);
    this.#transports = [udt(this.#streams), roce(this.#streams), quic(), wireguard, dtls, esp, openvpn];
  }

  /** Takes the rows that decodeFrames() wrote for `batch`. */
  push(batch: PacketBatch, rows: SegmentRows): void {
    const { count } = batch;
    const { kind, protocol, ports } = rows;
    this.#tunnelPaths = rows.tunnels;
    this.#tunnels.push(batch, rows);
    for (let row = 0; row < count; row++) {
      switch (kind[row]) {
        case KIND_UDP:
          this.#take(batch, rows, row, portsOf(ports[row]!), PROTOCOL_UDP);
          break;
        case KIND_ROCE_V1:
          this.#take(batch, rows, row, 0, protocol[row]!);
          break;
        case KIND_OTHER_IP:
          if (protocol[row] === PROTOCOL_ESP) this.#take(batch, rows, row, 0, PROTOCOL_ESP);
          break;
      }
    }
  }

  /** Who carries the byte stream with this direction id (UDP_STREAM_BASE and above). */
  identity(direction: number): { client: UdpEndpoint; server: UdpEndpoint; startNs: number } | undefined {
    return this.#streams.flow(direction);
  }

  /** Ends all flows; they come in the order of their first frame. */
  finish(): UdpResults {
    const flows = this.#flows.map((flow, entry) => this.#result(flow, entry)).sort((a, b) => a.id - b.id);
    return { flows, timeline: this.#timeline(), tunnels: this.#tunnels.finish(this.#tunnelPaths) };
  }

  #take(batch: PacketBatch, rows: SegmentRows, row: number, ports: number, protocol: number): void {
    const frame = batch.firstFrame + row;
    const tNs = batch.tNs[row]!;
    this.#copies ??= new DatagramCopies();
    if (this.#copies.take(batch, rows, row, ports)) {
      this.#log.note('udp/captured-twice', { frame, tNs });
      return;
    }
    const table = this.#table;
    if (table.full) this.#forgetIdle();
    const known = table.count;
    const entry = table.find(batch, rows, row, ports, protocol);
    if (entry === known) {
      const higher = table.fromHigher;
      const client = table.endpoint(entry, higher);
      this.#flows.push(
        new Flow(this.#nextId++, client, table.endpoint(entry, !higher), frame, tNs, UDP_TIMELINE_BYTES),
      );
      this.#clientIsHigher.push(higher);
    }
    const flow = this.#flows[entry]!;
    const side = table.fromHigher === this.#clientIsHigher[entry] ? 0 : 1;
    flow.frame = frame;
    flow.tNs = tNs;
    if (tNs > flow.endNs) flow.endNs = tNs;
    flow.count(side, batch.wire[row]!, rows.payloadLen[row]!);
    if (flow.wireBytes >= flow.timelineAskBytes) this.#giveTimeline(flow);
    if (flow.transport === null && flow.unrecognised < UDP_RECOGNITION_DATAGRAMS)
      this.#recognise(flow, batch, rows, row);
    flow.transport?.feed(batch, rows, row, side);
  }

  #recognise(flow: Flow, batch: PacketBatch, rows: SegmentRows, row: number): void {
    for (const transport of this.#transports) {
      if (transport.recognise(batch, rows, row)) {
        flow.transport = transport.open(flow);
        return;
      }
    }
    flow.unrecognised++;
  }

  /** Gives the flow a timeline, at the cost of one that is less than half its size if there must be. */
  #giveTimeline(flow: Flow): void {
    flow.timelineAskBytes = flow.wireBytes * 2;
    if (flow.timeline) return;
    if (this.#timelines.length >= UDP_TIMELINES) {
      const smallest = this.#timelines.reduce((a, b) => (a.wireBytes <= b.wireBytes ? a : b));
      if (smallest.wireBytes * 2 > flow.wireBytes) return;
      smallest.timeline = null;
      this.#timelines = this.#timelines.filter((other) => other !== smallest);
    }
    flow.startTimeline();
    this.#timelines.push(flow);
  }

  #forgetIdle(): void {
    const sinceNs = this.#flows.map(({ streams, endNs }) => (streams.length > 0 ? Number.POSITIVE_INFINITY : endNs));
    const byAge = sinceNs
      .map((_, entry) => entry)
      .sort((a, b) => (sinceNs[a] === sinceNs[b] ? 0 : sinceNs[a]! - sinceNs[b]!));
    const forgotten = byAge.slice(0, Math.ceil(byAge.length / 4));
    for (const entry of forgotten) this.#flows[entry]!.transport?.finish();
    const kept = byAge.slice(forgotten.length).sort((a, b) => a - b);
    this.#table.retain(kept);
    this.#flows = kept.map((entry) => this.#flows[entry]!);
    this.#clientIsHigher = kept.map((entry) => this.#clientIsHigher[entry]!);
    const live = new Set(this.#flows);
    this.#timelines = this.#timelines.filter((flow) => live.has(flow));
    this.#log.note('udp/flows-full', {}, forgotten.length);
  }

  #result(flow: Flow, entry: number): UdpFlow {
    const transfers = flow.transport?.transfers?.() ?? [];
    const facts = flow.transport?.finish() ?? {};
    const malformed = facts['malformedDatagrams'];
    if (typeof malformed === 'number' && malformed > 0) {
      this.#log.note('udp/malformed', { frame: flow.firstFrame, tNs: flow.startNs }, malformed);
    }
    return {
      id: flow.id,
      transport: flow.transport?.name ?? 'udp',
      encapsulation: this.#tunnelPaths[this.#table.tunnel(entry)]!.labels,
      client: flow.client,
      server: flow.server,
      firstFrame: flow.firstFrame,
      startNs: flow.startNs,
      endNs: flow.endNs,
      directions: [flow.directions[0], flow.directions[1]],
      streams: flow.streams,
      facts,
      ...(transfers.length > 0 ? { transfers } : {}),
    };
  }

  /** Bins of the biggest flows, flow by flow; what a flow sent before it was big is not in its bins. */
  #timeline(): ColumnData {
    const rows = this.#timelines
      .sort((a, b) => a.id - b.id)
      .flatMap((flow) => {
        const { series, binNs, used } = flow.timeline!;
        return Array.from({ length: used }, (_, bin) => [flow.id, bin * binNs, binNs, ...series.map((s) => s[bin]!)]);
      })
      // Empty bins say nothing that their absence does not.
      .filter((row) => row[3]! + row[4]! > 0);
    const units = {
      flow: 'flow id',
      startNs: 'ns',
      durationNs: 'ns',
      clientWireBytes: 'bytes',
      serverWireBytes: 'bytes',
      lostPackets: 'count',
      retransmittedPackets: 'count',
      rttMinNs: 'ns',
    };
    const columns = Object.fromEntries(
      Object.entries(units).map(([name, unit], c) => [
        name,
        { unit, values: Float64Array.from(rows, (row) => row[c]!) },
      ]),
    );
    return { rows: rows.length, columns };
  }
}

/** RoCEv2 spreads one conversation over source ports, so they take no part in what a flow is. */
const portsOf = (ports: number): number => ((ports & 0xffff) === ROCE_PORT ? ROCE_PORT * 0x1_0000 + ROCE_PORT : ports);
