// Close-ups: stretches of which every segment is known, for the time-sequence graph.
import { TCP_SEGMENT_KINDS } from '../../decode/tcp/results.js';
import type { ReportData } from '../report.js';
import type { Carrier } from '../traffic.js';
import type { Dataset } from './data/dataset.js';

const ACKNOWLEDGEMENT = TCP_SEGMENT_KINDS.indexOf('acknowledgement');
const RETRANSMISSION = TCP_SEGMENT_KINDS.indexOf('retransmission');

/**
 * One row a segment, one stretch after the other: `low` to `high` are the bytes of data, or for an acknowledgement the
 * next byte it asks for and the edge of the window it grants. `stretches` has the time each covers, in s.
 */
export function closeUpsData(
  report: ReportData,
  carriers: readonly Carrier[],
  limit: number,
): { segments: Dataset | null; stretches: Dataset | null } {
  const table = report.tables['tcpSegments'];
  if (!table) return { segments: null, stretches: null };
  const wanted = new Set(carriers.map(({ direction }) => direction));
  const cells = (name: string): readonly number[] => (table.columns[name]?.values ?? []) as readonly number[];
  const [stretch, kind, direction, frame, tNs, offset, size] = [
    'stretch',
    'kind',
    'direction',
    'frame',
    'tNs',
    'offset',
    'bytes',
  ].map(cells) as [number[], number[], number[], number[], number[], number[], (number | null)[]];
  const rows = stretch
    .map((_, row) => row)
    .filter((row) => wanted.has(direction[row]!))
    .slice(0, limit);
  const s = (row: number): number => tNs[row]! / 1e9;
  const first = rows.filter((row, i) => i === 0 || stretch[row] !== stretch[rows[i - 1]!]);
  const last = rows.filter((row, i) => i === rows.length - 1 || stretch[row] !== stretch[rows[i + 1]!]);
  return {
    segments: {
      stretch: rows.map((row) => stretch[row]!),
      t: rows.map(s),
      low: rows.map((row) => offset[row]!),
      high: rows.map((row) => (size[row] === null ? null : offset[row]! + size[row]!)),
      kind: rows.map((row) => kind[row]!),
      frame: rows.map((row) => frame[row]!),
    },
    stretches: {
      stretch: first.map((row) => stretch[row]!),
      from: first.map(s),
      to: last.map(s),
      connection: first.map((row) => direction[row]! >> 1),
      resent: first.map(
        (row) => rows.filter((other) => stretch[other] === stretch[row] && kind[other] === RETRANSMISSION).length,
      ),
      // Why it was kept, where nothing was sent again.
      why: first.map((row) => {
        const own = rows.filter((other) => stretch[other] === stretch[row]);
        if (own.some((other) => kind[other] !== ACKNOWLEDGEMENT && offset[other] === 0)) return 'start';
        return own.some((other) => kind[other] === ACKNOWLEDGEMENT && size[other] === 0)
          ? 'closed window'
          : 'as asked for';
      }),
    },
  };
}

/** What the specification asks of a row. */
export const isAcknowledgement = `datum.kind === ${ACKNOWLEDGEMENT}`;
export const isRetransmission = `datum.kind === ${RETRANSMISSION}`;
