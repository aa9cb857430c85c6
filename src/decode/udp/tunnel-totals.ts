// TunnelTotals: what each way of encapsulation cost: bytes added, the largest packets, and fragments of outer packets.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { TUNNEL_PATHS } from '../../limits.js';
import { FRAGMENTED_OUTER } from '../ip.js';
import type { SegmentRows, TunnelPath } from '../rows.js';
import type { TunnelTotal } from './results.js';

export class TunnelTotals {
  // By tunnel path.
  readonly #frames = new Float64Array(TUNNEL_PATHS);
  readonly #innerIpBytes = new Float64Array(TUNNEL_PATHS);
  readonly #outerIpBytes = new Float64Array(TUNNEL_PATHS);
  readonly #innerMaxBytes = new Float64Array(TUNNEL_PATHS);
  readonly #outerMaxBytes = new Float64Array(TUNNEL_PATHS);
  readonly #fragmentedFrames = new Float64Array(TUNNEL_PATHS);

  push(batch: PacketBatch, rows: SegmentRows): void {
    if (rows.tunnels.length === 1) return;
    const { tunnel, ipVersion, ipBytes, outerIpBytes, fragmented } = rows;
    for (let row = 0; row < batch.count; row++) {
      const path = tunnel[row]!;
      if (path === 0 || ipVersion[row] === 0) continue;
      const inner = ipBytes[row]!;
      const outer = Math.max(outerIpBytes[row]!, inner);
      this.#frames[path] = this.#frames[path]! + 1;
      this.#innerIpBytes[path] = this.#innerIpBytes[path]! + inner;
      this.#outerIpBytes[path] = this.#outerIpBytes[path]! + outer;
      if (inner > this.#innerMaxBytes[path]!) this.#innerMaxBytes[path] = inner;
      if (outer > this.#outerMaxBytes[path]!) this.#outerMaxBytes[path] = outer;
      if (fragmented[row]! & FRAGMENTED_OUTER) this.#fragmentedFrames[path] = this.#fragmentedFrames[path]! + 1;
    }
  }

  finish(paths: readonly TunnelPath[]): TunnelTotal[] {
    return paths
      .map(({ labels }, path) => ({
        encapsulation: labels,
        frames: this.#frames[path]!,
        innerIpBytes: this.#innerIpBytes[path]!,
        outerIpBytes: this.#outerIpBytes[path]!,
        innerMaxBytes: this.#innerMaxBytes[path]!,
        outerMaxBytes: this.#outerMaxBytes[path]!,
        fragmentedFrames: this.#fragmentedFrames[path]!,
      }))
      .filter((total) => total.frames > 0);
  }
}
