// Runs frames through decodeFrames() and UdpFlows, and collects the byte streams that transports offer.
import { AnomalyLog } from '../../src/anomaly.js';
import type { PacketBatch } from '../../src/capture/packet-batch.js';
import { decodeFrames } from '../../src/decode/frame.js';
import { createRows } from '../../src/decode/rows.js';
import type { ClaimStream } from '../../src/decode/stream.js';
import { UdpFlows } from '../../src/decode/udp/flows.js';
import type { RdmaConsumer } from '../../src/decode/udp/rdma.js';
import type { UdpResults } from '../../src/decode/udp/results.js';
import { batchOf, type CapturedFrame } from './frames.js';

export interface UdpAnalysis extends UdpResults {
  log: AnomalyLog;
  /** By direction id: the pieces delivered, holes as `<length cause>`, the end as `|cause`. */
  streams: Map<number, string[]>;
}

/** All of it at the end; streams are claimed by anybody who asks, in Latin-1. */
export function analysedUdp(
  batches: Iterable<PacketBatch>,
  claim?: ClaimStream,
  rdma: RdmaConsumer | null = null,
): UdpAnalysis {
  const log = new AnomalyLog();
  const streams = new Map<number, string[]>();
  const collect: ClaimStream = (direction, _buffer, _start, _end, fromStart) => {
    const pieces = [fromStart ? '' : '…'];
    streams.set(direction, pieces);
    let expected: number | null = null;
    const at = (offset: number): void => {
      if (expected !== null && offset !== expected) pieces.push(`!${offset - expected}!`);
    };
    return {
      bytes(buffer, start, end, offset) {
        at(offset);
        expected = offset + end - start;
        pieces.push(Buffer.from(buffer.subarray(start, end)).toString('latin1'));
        return true;
      },
      hole(offset, length, cause) {
        at(offset);
        expected = offset + length;
        pieces.push(`<${length} ${cause}>`);
      },
      end(offset, cause) {
        at(offset);
        pieces.push(`|${cause}`);
      },
    };
  };
  const flows = new UdpFlows(log, claim ?? collect, rdma);
  const rows = createRows();
  for (const batch of batches) {
    decodeFrames(batch, rows, log);
    flows.push(batch, rows);
  }
  return { ...flows.finish(), log, streams };
}

export const analysedFrames = (...frames: (Uint8Array | CapturedFrame)[]): UdpAnalysis =>
  analysedUdp([batchOf(frames)]);
