// Rare frames that explain things: ICMP errors, address announcements, DNS failures, from the `signals` table.
import type { ReportData } from '../report.js';
import { column } from './transfer.js';

/** One row of the table; what a frame does not say is null. */
export interface Signal {
  readonly kind: string;
  readonly frame: number;
  readonly tNs: number;
  readonly from: string | null;
  /** What it is about: the announced or wanted address, or the destination of the packet an ICMP error quotes. */
  readonly about: string | null;
  readonly mac: string | null;
  readonly port: number | null;
  readonly sourcePort: number | null;
  /** ICMP type and code; hop limit before and after a change. */
  readonly type: number | null;
  readonly code: number | null;
  readonly mtu: number | null;
  /** The name asked for; untrusted. */
  readonly name: string | null;
}

/** Signals of the given kinds in order of time. */
export function signalsOf(report: ReportData, ...kinds: readonly string[]): Signal[] {
  const table = report.tables['signals'];
  const text = (name: string, row: number): string | null => {
    const cell = column(table, name)[row];
    return typeof cell === 'string' && cell !== '' ? cell : null;
  };
  const number = (name: string, row: number): number | null => {
    const cell = column(table, name)[row];
    return typeof cell === 'number' && Number.isFinite(cell) ? cell : null;
  };
  return column(table, 'kind')
    .map((_, row) => ({
      kind: text('kind', row) ?? '',
      frame: number('frame', row) ?? 0,
      tNs: number('tNs', row) ?? 0,
      from: text('from', row),
      about: text('about', row),
      mac: text('mac', row),
      port: number('port', row),
      sourcePort: number('sourcePort', row),
      type: number('type', row),
      code: number('code', row),
      mtu: number('mtu', row),
      name: text('name', row),
    }))
    .filter((signal) => kinds.includes(signal.kind))
    .sort((a, b) => a.tNs - b.tNs);
}

/** ICMP errors about packets to `address`, whoever sent them. */
export const icmpErrorsAbout = (report: ReportData, address: string): Signal[] =>
  signalsOf(report, 'icmp-unreachable', 'icmp-time-exceeded', 'icmp-redirect', 'icmp-other-error').filter(
    (signal) => signal.about === address,
  );

/** "Fragmentation needed" and "packet too big" about packets to `address`. */
export const tooBigAbout = (report: ReportData, address: string): Signal[] =>
  signalsOf(report, 'icmp-too-big').filter((signal) => signal.about === address);

/** Frames that say where a guest's address now lives. */
export const ANNOUNCEMENTS = ['rarp-announcement', 'arp-announcement', 'neighbour-announcement'] as const;
