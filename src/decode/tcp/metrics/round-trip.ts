// Round trips: how long a loop over the whole path takes, wherever the capture point is.
//
// The capture point cuts the path in two loops. Each frame that answers another gives a sample of one of them. The longer
// half carries the variation and gives the distribution; the shorter one adds its minimum.
import { LogHistogram } from './histogram.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';

/** Below this round trip only acknowledgements time it: what a host takes to answer with data is longer. */
const NEAR_NS = 100e3;

export function roundTrip({ rows, newRoom }: MetricContext): TcpMetric {
  const { direction, loopNs } = rows;
  const buckets = newRoom();
  /** Loops from the capture point to the sender of a direction and back. */
  const loops = new PerDirection(
    () => new LogHistogram(buckets),
    (histogram) => histogram.release(),
  );
  return {
    push(from: number, to: number): void {
      for (let row = from; row < to; row++) {
        if (loopNs[row]! >= 0) loops.at(direction[row]!).add(loopNs[row]!);
      }
    },
    forget: (connection) => loops.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const { toSenderNs, toReceiverNs } = connection.directions[side];
        if (Number.isNaN(toSenderNs + toReceiverNs)) continue;
        const acknowledged = toReceiverNs >= toSenderNs || toReceiverNs + toSenderNs < NEAR_NS;
        const farSide = acknowledged ? 1 - side : side;
        const far = loops.find(2 * connection.id + farSide);
        if (!far) continue;
        into[side].rttNs = far.quantiles(1, acknowledged ? toSenderNs : toReceiverNs);
        into[side].queueingNs = far.quantiles(1, -far.min);
      }
    },
  };
}
