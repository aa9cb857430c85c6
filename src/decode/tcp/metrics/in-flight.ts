// In flight: bytes sent and not acknowledged, as the sender knew it when it sent each frame.
//
// `pipe` leaves out what was reported received or lost; while the network limits the sender it equals the congestion
// window, else it is a lower bound of it.
import { NO_DIRECTION, type SegmentRows } from '../../rows.js';
import { LogHistogram } from './histogram.js';
import { type MetricContext, PerDirection, type RowTimes, type TcpMetric } from './metric.js';

class Flight {
  flight = new LogHistogram();
  pipe = new LogHistogram();
  /** Share of the peer's window. */
  use = new LogHistogram();
}

export function inFlight(_: MetricContext): TcpMetric {
  const states = new PerDirection(() => new Flight());
  return {
    push(_: RowTimes, rows: SegmentRows, from: number, to: number): void {
      const { direction, flight, pipe, room } = rows;
      for (let row = from; row < to; row++) {
        if (!(flight[row]! >= 0) || direction[row] === NO_DIRECTION) continue;
        const state = states.at(direction[row]!);
        state.flight.add(flight[row]!);
        state.pipe.add(pipe[row]!);
        const share = flight[row]! / (flight[row]! + room[row]!);
        state.use.add(share > 1 ? 1 : share);
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (!state) continue;
        into[side].inFlight = state.flight.quantiles();
        into[side].pipe = state.pipe.quantiles();
        into[side].windowUse = state.use.quantiles();
      }
    },
  };
}
