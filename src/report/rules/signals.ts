// Rare frames that explain things: ICMP errors, address announcements, DNS failures, from the `signals` table.
import type { ReportData } from '../report.js';
import { column } from './transfer.js';

export interface Signal {
  readonly kind: string;
  readonly frame: number;
  readonly tNs: number;
  /** Addresses as text where the frame names them. */
  readonly from: string | null;
  readonly about: string | null;
  /** The kind in words. */
  readonly what: string;
  /** The path MTU an ICMP error announces, bytes. */
  readonly mtu: number | null;
}

export function signalsOf(report: ReportData): Signal[] {
  const table = report.tables['signals'];
  const text = (name: string, row: number): string | null => {
    const cell = column(table, name)[row];
    return typeof cell === 'string' && cell !== '' ? cell : null;
  };
  const number = (name: string, row: number): number | null => {
    const cell = column(table, name)[row];
    return typeof cell === 'number' && Number.isFinite(cell) ? cell : null;
  };
  return Array.from({ length: table?.rows ?? 0 }, (_, row) => ({
    kind: text('kind', row) ?? '',
    frame: number('frame', row) ?? 0,
    tNs: number('tNs', row) ?? 0,
    from: text('from', row),
    about: text('about', row),
    what: (text('kind', row) ?? '').replaceAll('-', ' '),
    mtu: number('mtu', row),
  }));
}

/** ICMP errors about packets to `address`. */
export const icmpErrorsAbout = (report: ReportData, address: string): Signal[] =>
  signalsOf(report).filter((signal) => signal.kind.startsWith('icmp') && signal.about === address);
