// Who else is on the wire beside a migration: conversations that fell silent, and which of them are the guest's own.
import type { Migration, ReportData } from '../report.js';
import { ANNOUNCEMENTS, signalsOf } from './signals.js';
import { column } from './transfer.js';

/** One side of a conversation that sent nothing for a while. */
export interface Silence {
  readonly kind: string;
  /** Direction id of a TCP connection; null for the others. */
  readonly direction: number | null;
  readonly from: string;
  readonly to: string;
  readonly mac: string;
  readonly startNs: number;
  readonly endNs: number;
  readonly frameBefore: number;
  readonly frameAfter: number;
  /** Mean time between the frames that this side had sent before. */
  readonly intervalNs: number;
  /** When it was first heard. */
  readonly sinceNs: number;
  /** What its clock counted meanwhile; null where its timestamps do not tell. */
  readonly clockNs: number | null;
}

export function silencesOf(report: ReportData): Silence[] {
  const table = report.tables['silences'];
  const number = (name: string, row: number): number | null => {
    const cell = column(table, name)[row];
    return typeof cell === 'number' && Number.isFinite(cell) ? cell : null;
  };
  const text = (name: string, row: number): string => String(column(table, name)[row] ?? '');
  return column(table, 'kind').map((_, row) => {
    const startNs = number('startNs', row) ?? 0;
    const sinceNs = number('sinceNs', row) ?? 0;
    return {
      kind: text('kind', row),
      direction: number('direction', row),
      from: text('from', row),
      to: text('to', row),
      mac: text('mac', row),
      startNs,
      endNs: number('endNs', row) ?? startNs,
      frameBefore: number('frameBefore', row) ?? 0,
      frameAfter: number('frameAfter', row) ?? 0,
      intervalNs: (startNs - sinceNs) / Math.max(1, (number('framesBefore', row) ?? 0) - 1),
      sinceNs,
      clockNs: number('clockNs', row),
    };
  });
}

/** A guest that moved, as its neighbours heard it. */
export interface Guest {
  readonly address: string;
  /** Its hardware address or address was announced: then it is the one that moved, otherwise that is only likely. */
  readonly announced: boolean;
  readonly silences: readonly Silence[];
}

/** A silence is the speaker's own choice unless it spoke much more often before. */
const MIN_INTERVALS = 4;

/**
 * Senders other than the hosts that fell silent while others still spoke to them, with the silences that `during`
 * accepts. A sender with the hardware address of an announcement is known to be the guest; where the capture holds
 * announcements, nobody else is.
 */
export function guestsOf(report: ReportData, migration: Migration, during: (silence: Silence) => boolean): Guest[] {
  const hosts = [migration.source, migration.destination];
  const all = silencesOf(report);
  const announcements = signalsOf(report, ...ANNOUNCEMENTS).filter((signal) => signal.tNs >= migration.startNs);
  // A host announces its own addresses too, when a link of its comes up: RARP is what QEMU sends for a guest.
  const macs = new Set(announcements.filter(({ kind }) => kind === 'rarp-announcement').map(({ mac }) => mac));
  const guests = new Map<string, Silence[]>();
  for (const silence of all) {
    if (hosts.includes(silence.from) || silence.kind === 'heartbeat' || !during(silence)) continue;
    if (silence.endNs - silence.startNs < MIN_INTERVALS * silence.intervalNs) continue;
    if (macs.size > 0 ? !macs.has(silence.mac) : !wasAsked(silence, all)) continue;
    guests.set(silence.from, [...(guests.get(silence.from) ?? []), silence]);
  }
  return [...guests].map(([address, silences]) => ({ address, announced: macs.size > 0, silences }));
}

/** Whether the other side went on speaking: it did not fall silent for most of the same time. */
const wasAsked = (silence: Silence, all: readonly Silence[]): boolean =>
  !all.some(
    (other) =>
      other.from === silence.to &&
      other.to === silence.from &&
      other.kind === silence.kind &&
      Math.min(other.endNs, silence.endNs) - Math.max(other.startNs, silence.startNs) >
        0.9 * (silence.endNs - silence.startNs),
  );
