// Runs frames through decoding, connections and TCP metrics, nothing else.
import { type Anomaly, AnomalyLog } from '../../src/anomaly.js';
import type { PacketBatch } from '../../src/capture/packet-batch.js';
import { openFiles } from '../../src/capture/source.js';
import { decodeFrames } from '../../src/decode/frame.js';
import type { SegmentRows } from '../../src/decode/rows.js';
import { Connections, type ConnectionsOptions } from '../../src/decode/tcp/connections.js';
import { TcpMetrics } from '../../src/decode/tcp/metrics/index.js';
import type { TcpConnection, TcpDirection, TcpResults } from '../../src/decode/tcp/results.js';
import type { Connection } from '../../src/decode/tcp/tracker.js';
import { batchOf, type CapturedFrame, LINK_ETHERNET } from './frames.js';

export interface TcpAnalysis {
  readonly results: TcpResults;
  readonly anomalies: readonly Anomaly[];
  readonly connections: Connections;
  /** The state of a connection at the end. */
  readonly connection: (id: number) => Connection;
}

export interface TcpSetting extends ConnectionsOptions {
  /** Frames in one batch. */
  readonly batchFrames?: number;
  /** LINKTYPE_ number of the frames; Ethernet if not given. */
  readonly linkType?: number;
  /** Sees every batch, placed and tracked. */
  readonly watch?: (batch: PacketBatch, rows: SegmentRows) => void;
}

export function analyzeFrames(frames: readonly CapturedFrame[], setting: TcpSetting = {}): TcpAnalysis {
  const run = start(setting);
  const step = setting.batchFrames ?? 4096;
  for (let at = 0; at < frames.length; at += step) {
    run.push(batchOf(frames.slice(at, at + step), { firstFrame: at + 1, linkType: setting.linkType ?? LINK_ETHERNET }));
  }
  return run.finish();
}

export async function analyzeFile(path: string, setting: TcpSetting = {}): Promise<TcpAnalysis> {
  const run = start(setting);
  const source = await openFiles([path], new AnomalyLog());
  for await (const batch of source.batches()) run.push(batch);
  source.close();
  return run.finish();
}

/** All frames of a capture, copied, with times from its first frame. */
export async function framesOfFile(path: string): Promise<CapturedFrame[]> {
  const frames: CapturedFrame[] = [];
  const source = await openFiles([path], new AnomalyLog());
  for await (const batch of source.batches()) {
    for (let row = 0; row < batch.count; row++) {
      const start = batch.start[row]!;
      frames.push({
        bytes: batch.bytes.slice(start, start + batch.captured[row]!),
        wire: batch.wire[row]!,
        tNs: batch.tNs[row]!,
      });
    }
  }
  source.close();
  return frames;
}

function start(setting: TcpSetting): { push(batch: PacketBatch): void; finish(): TcpAnalysis } {
  const log = new AnomalyLog();
  const connections = new Connections(log, setting);
  const metrics = new TcpMetrics(log);
  connections.onReplaced((id) => metrics.forget(id));
  return {
    push(batch) {
      const rows = metrics.nextRows();
      decodeFrames(batch, rows, log);
      connections.place(batch, rows);
      metrics.push(batch);
      setting.watch?.(batch, rows);
    },
    finish() {
      connections.trim();
      const results = metrics.finish(connections.ids().map((id) => connections.identity(id)));
      return { results, anomalies: log.finish(), connections, connection: (id) => metrics.connection(id) };
    },
  };
}

/** The connection that carries most, and its larger direction. */
export function bulk(analysis: TcpAnalysis): { connection: TcpConnection; direction: TcpDirection; side: 0 | 1 } {
  const bytes = (connection: TcpConnection): number =>
    connection.directions[0].payloadBytes + connection.directions[1].payloadBytes;
  const connection = analysis.results.connections.reduce((most, other) => (bytes(other) > bytes(most) ? other : most));
  const side = connection.directions[0].payloadBytes >= connection.directions[1].payloadBytes ? 0 : 1;
  return { connection, direction: connection.directions[side], side };
}
