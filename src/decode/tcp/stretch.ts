// Stretch: every segment of a stretch that was asked for, and the acknowledgements for them, for a time-sequence graph after
// tcptrace. What nobody asks for is chosen by metrics/segments.ts.
import type { PacketBatch } from '../../capture/packet-batch.js';
import { type ColumnData, TableBuilder } from '../../columns.js';
import { EVENT_ROWS } from '../../limits.js';
import { NO_DIRECTION, type SegmentRows, TRIGGER_NONE, VERDICT_CAPTURE_DUPLICATE } from '../rows.js';
import { TCP_SEGMENT_KINDS, TCP_SEGMENT_UNITS } from './results.js';

const NEW = TCP_SEGMENT_KINDS.indexOf('new');
const RETRANSMISSION = TCP_SEGMENT_KINDS.indexOf('retransmission');
const ACKNOWLEDGEMENT = TCP_SEGMENT_KINDS.indexOf('acknowledgement');

/** Which stretch, and of which connection. */
export interface WantedStretch {
  /** [fromNs, toNs) since the capture's first frame. */
  readonly fromNs: number;
  readonly toNs: number;
  /** Null: the one that sends most in that time. */
  readonly connection: number | null;
}

/** Rows as in `TCP_SEGMENT_UNITS`; beyond EVENT_ROWS of all connections the stretch ends. */
export class Stretch {
  readonly #wanted: WantedStretch;
  readonly #rows = new TableBuilder(TCP_SEGMENT_UNITS, EVENT_ROWS);
  /** First row that is of the id's present connection, where it had another. */
  readonly #begins = new Map<number, number>();

  constructor(wanted: WantedStretch) {
    this.#wanted = wanted;
  }

  /** Takes a batch whose rows were tracked. */
  push({ count, firstFrame, tNs }: PacketBatch, rows: SegmentRows): void {
    const { fromNs, toNs, connection } = this.#wanted;
    if (count === 0 || tNs[count - 1]! < fromNs || tNs[0]! >= toNs) return;
    const { direction, offset, ackOffset, windowBytes, payloadLen, trigger, verdict } = rows;
    for (let row = 0; row < count; row++) {
      const id = direction[row]!;
      if (!(tNs[row]! >= fromNs && tNs[row]! < toNs) || id === NO_DIRECTION) continue;
      if (verdict[row] === VERDICT_CAPTURE_DUPLICATE || (connection !== null && id >> 1 !== connection)) continue;
      if (payloadLen[row]! > 0) {
        const kind = trigger[row] === TRIGGER_NONE ? NEW : RETRANSMISSION;
        this.#rows.add(0, kind, id, firstFrame + row, tNs[row]!, offset[row]!, payloadLen[row]!);
      } else if (ackOffset[row]! >= 0) {
        this.#rows.add(0, ACKNOWLEDGEMENT, id ^ 1, firstFrame + row, tNs[row]!, ackOffset[row]!, windowBytes[row]!);
      }
    }
  }

  /** The id passes on to a new connection: what was seen of the old one goes. */
  forget(connection: number): void {
    this.#begins.set(connection, this.#rows.rows);
  }

  /** The stretch, of the direction that sent most in it, before those that were chosen for their disturbances. */
  before(chosen: ColumnData): ColumnData {
    const seen = this.#rows;
    const live = Array.from({ length: seen.rows }, (_, row) => row).filter(
      (row) => row >= (this.#begins.get(seen.get(row, 'direction') >> 1) ?? 0),
    );
    const sent = new Map<number, number>();
    for (const row of live) {
      if (seen.get(row, 'kind') === ACKNOWLEDGEMENT) continue;
      const direction = seen.get(row, 'direction');
      sent.set(direction, (sent.get(direction) ?? 0) + seen.get(row, 'bytes'));
    }
    const [direction] = [...sent].reduce((most, one) => (one[1] > most[1] ? one : most), [Number.NaN, 0]);
    const own = live.filter((row) => seen.get(row, 'direction') === direction);
    const stretches = (chosen.columns['stretch']?.values ?? []) as ArrayLike<number>;
    const next = stretches.length > 0 ? stretches[stretches.length - 1]! + 1 : 0;
    const columns = Object.entries(TCP_SEGMENT_UNITS).map(([name, unit]) => {
      const values = new Float64Array(own.length + chosen.rows);
      own.forEach((row, at) => {
        values[at] = name === 'stretch' ? next : seen.get(row, name as keyof typeof TCP_SEGMENT_UNITS);
      });
      values.set((chosen.columns[name]?.values ?? []) as ArrayLike<number>, own.length);
      return [name, { unit, values }];
    });
    return { rows: own.length + chosen.rows, columns: Object.fromEntries(columns) };
  }
}
