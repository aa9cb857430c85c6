// Outcome: what became of a migration, once all its streams have ended, and what else the capture says of it.
import type { ColumnData } from '../columns.js';
import type { ClockLeap } from '../decode/clock-leaps.js';
import { UDP_STREAM_BASE } from '../decode/stream.js';
import { countingRules } from './counting.js';
import type { StreamDriver } from './decoder.js';
import {
  type ConnectionEnding,
  type ConnectionIdentity,
  connectionsOf,
  endingOf,
  forward,
  type Group,
  kindOf,
  lengthOf,
  type Stream,
} from './group.js';
import { relayedFrom } from './relay.js';
import type { ChannelKind, Migration, Phase, Round } from './results.js';
import { returnPath } from './return-path.js';
import { SealedMigration } from './sealed.js';
import type { Flight } from './send-buffer.js';

/** Confidence in a downtime that is measured with a clock that leapt. */
const LEAPT_CONFIDENCE = 0.2;
/** A destination announces its guest several times for about a second; half as long again for slow ones. */
const ANNOUNCING_NS = 1.5e9;
/** By so much time a mirror's port may outweigh when it ends. */
const NEXT_PORT_NS = 0.5e9;
/** What the main connection had in flight; null where that is not known. */
function flightOf(
  group: Group,
  streams: readonly Stream[],
  endings: ReadonlyMap<number, ConnectionEnding>,
): Flight | null {
  const main = streams.find((stream) => kindOf(group, stream) === 'main');
  const ending = endingOf(main, endings);
  const pipe = main && ending?.directions?.[main.direction & 1]?.pipe;
  return pipe ? { p50: pipe.p50, max: pipe.max, rttNs: ending.handshakeRttNs ?? null } : null;
}

export function resultOf(
  group: Group,
  id: number,
  endings: ReadonlyMap<number, ConnectionEnding>,
  mirrorEndsNs: readonly number[],
): Migration {
  const streams = forward(group);
  const overNs = Math.max(
    ...group.streams.map((stream) => endingOf(stream, endings)?.endNs ?? Number.POSITIVE_INFINITY),
  );
  const figures = group.state.finish(flightOf(group, streams, endings), mirrorEndsNs, overNs);
  const sealed = group.state instanceof SealedMigration ? group.state : null;
  const bytesOf = (kind: ChannelKind): number => lengthOf(streams.filter((stream) => kindOf(group, stream) === kind));
  const presumed = (of: ChannelKind): number =>
    group.presumed.reduce((sum, { kind, bytes }) => sum + (kind === of ? bytes : 0), 0);
  const presumedBytes = presumed('main') + presumed('multifd');
  const total = lengthOf(streams) + group.besideBytes + presumedBytes;
  const unreadBytes = streams.reduce((sum, { driver }) => sum + driver.account.undecodedBytes, presumedBytes);
  const undecodedBytes = sealed ? total : unreadBytes;
  const { client, server } = group.identity;
  const { machineType, pageSize, features, ramRecordBytes, deviceStateBytes, lostPages, rounds, ...rest } = figures;
  const outcome = outcomeOf(group, streams, endings);
  const capturedToNs = Math.max(...streams.map(({ driver }) => driver.capturedToNs));
  const phases = outcome === 'incomplete' ? until(capturedToNs, rest.phases) : rest.phases;
  if (rest.downtime && (outcome === 'failed' || outcome === 'cancelled'))
    rest.downtime.method += ', where the migration broke off: the guest did not run at the destination';
  return {
    id,
    source: client.address,
    destination: server.address,
    port: server.port,
    connections: connectionsOf(group),
    udpStreams: group.streams.map(({ direction }) => direction).filter((direction) => direction >= UDP_STREAM_BASE),
    outcome,
    encryption: sealed ? 'tls' : 'none',
    stream: {
      machineType,
      pageSize,
      features,
      decodedBytes: total - undecodedBytes,
      undecodedBytes,
      lostPages: lostPages ?? null,
    },
    startNs: group.startNs,
    endNs: phases.at(-1)?.endNs ?? group.startNs,
    bytes: {
      total,
      main: bytesOf('main') + presumed('main') + group.besideBytes,
      multifd: bytesOf('multifd') + presumed('multifd'),
      preempt: bytesOf('preempt'),
      ramRecords: ramRecordBytes,
      deviceState: deviceStateBytes,
      returnPath: sealed?.replyBytes ?? lengthOf(group.streams.filter(({ decoder }) => decoder === returnPath)),
    },
    disks: [],
    ...(group.proxies.length > 0 ? { proxies: group.proxies } : {}),
    rounds: sealed && streams[0]?.isJoined ? rounds.map(joinedRound) : rounds,
    countingRules: countingRules({ outcome, features, rounds, ...rest }),
    ...rest,
    phases,
  };
}

/** The last phase goes on at least until `endNs`: what nobody ended lasts as long as the capture, be it in vain. */
const until = (endNs: number, phases: readonly Phase[]): Phase[] =>
  phases.map((phase, at) => (at === phases.length - 1 ? { ...phase, endNs: Math.max(endNs, phase.endNs) } : phase));

/** Inside TLS a first pass that was joined looks like a whole one. */
const joinedRound = (round: Round, i: number): Round =>
  i === 0 ? { ...round, boundary: 'joined-midway', confidence: Math.min(round.confidence, 0.5) } : round;

/**
 * Completed needs the end mark or the destination's SHUT; the end mark may have reached a buffer on the way and no further.
 * Otherwise the way the main connection ended decides: the source closed it in order (cancelled), it was reset or the
 * destination gave up first (failed), or the capture ended. A SHUT with an error flag that follows the source's own closing is
 * only the answer to it.
 */
function outcomeOf(
  group: Group,
  streams: readonly Stream[],
  endings: ReadonlyMap<number, ConnectionEnding>,
): Migration['outcome'] {
  const { complete, shut, shutNs, sightings } = group.state;
  const main = streams.findLast((stream) => kindOf(group, stream) === 'main');
  const closedBySource = main?.driver.ended === 'fin' && !(shutNs < main.driver.endNs);
  if (shut !== null && shut !== 0) return closedBySource ? 'cancelled' : 'failed';
  const reply = group.streams.findLast(({ decoder }) => decoder === returnPath)?.driver;
  // A destination that has answered before says when it is done.
  const isUnconfirmed = shut === null && reply?.ended === 'fin' && isWhole(reply);
  if (shut === 0 || (complete && !isUnconfirmed)) return 'completed';
  // In a capture cut to headers the end mark may be hidden: a description up to an orderly end says the same.
  if (closedBySource && sightings.endsInText && !isUnconfirmed) return 'completed';
  const ending = endingOf(main, endings);
  // The end mark may have been in what the capture lost or cut off; and post-copy can pause, but not be cancelled.
  // Midway, the side that was seen first may be the destination.
  if (closedBySource && ending?.closedFirstBy !== (main.direction & 1 ? 0 : 1)) {
    const isUnread = main.driver.endsUnread || sightings.mayEndInText;
    return isUnread || group.state.mayBeInPostcopy ? 'incomplete' : 'cancelled';
  }
  switch (ending?.endedBy ?? main?.driver.ended) {
    case 'fin':
    case 'rst':
      return 'failed';
    default:
      return 'incomplete';
  }
}

/** Something was sent, and all of it is in the capture. */
const isWhole = ({ account }: StreamDriver): boolean => account.length > 0 && account.missingBytes === 0;

/**
 * A mirror runs between the hosts of its migration, either way round, begins before the memory moves and is ended in the pause
 * for the switch-over. Where guests move at once, the migration that ends with it owns it; libvirt and Proxmox give it the
 * port after the migration's.
 */
export function ownerOf(
  { identity: { client, server }, startNs, endNs }: { identity: ConnectionIdentity; startNs: number; endNs: number },
  migrations: readonly Migration[],
): Migration | undefined {
  const distance = ({ port, endNs: migratedNs }: Migration): number =>
    Math.abs(migratedNs - endNs) + (port + 1 === server.port ? 0 : NEXT_PORT_NS);
  return migrations
    .filter(
      ({ source, destination, startNs: beganNs, endNs: migratedNs }) =>
        ((source === client.address && destination === server.address) ||
          (source === server.address && destination === client.address)) &&
        migratedNs >= startNs &&
        beganNs <= endNs,
    )
    .sort((a, b) => distance(a) - distance(b))[0];
}

/**
 * A guest runs by the time its destination announces it: QEMU holds RARP back until then (net/announce.c). Whose guest
 * it is shows only where no other migration ended since.
 */
function boundByAnnouncements(migrations: readonly Migration[], { rows, columns }: ColumnData): void {
  const kinds = columns['kind']!.values;
  const times = columns['tNs']!.values;
  for (const migration of migrations) {
    const { downtime } = migration;
    const sinceNs = downtime?.earliestEndNs;
    if (!downtime || sinceNs === undefined) continue;
    for (let row = 0; row < rows; row++) {
      const tNs = Number(times[row]);
      if (kinds[row] !== 'rarp-announcement' || tNs < sinceNs) continue;
      const isOthers = ({ downtime: other }: Migration): boolean =>
        other !== null &&
        other !== downtime &&
        other.endNs > sinceNs - ANNOUNCING_NS &&
        (other.earliestEndNs ?? other.endNs) <= tNs;
      if (migrations.some(isOthers)) break;
      downtime.latestEndNs = tNs;
      const afterMs = (tNs - downtime.endNs) / 1e6;
      const when = afterMs >= 1 ? `${Math.round(afterMs)} ms later` : 'by then';
      downtime.method += `; the guest announced itself ${when}`;
      break;
    }
  }
}

/**
 * In clear a source that recovers says so, and both parts are one migration. Inside TLS it shows only that a post-copy between
 * these hosts was interrupted before: that one did not fail, what became of it the other tells.
 */
function resume(migration: Migration, earlier: readonly Migration[]): void {
  if (!migration.stream.features.includes('postcopy-resumed')) return;
  const paused = earlier.findLast(
    ({ source, destination, encryption, postcopy, outcome, startNs }) =>
      source === migration.source &&
      destination === migration.destination &&
      encryption === 'tls' &&
      postcopy !== null &&
      outcome !== 'completed' &&
      startNs < migration.startNs,
  );
  if (!paused) return;
  paused.outcome = 'incomplete';
  migration.resumes = paused.id;
}

/**
 * What only all migrations together show, or other traffic, or the clock: relays, announcements of guests, and a clock that
 * leapt while one was under way.
 */
export function compare(
  migrations: readonly Migration[],
  signals: ColumnData | null,
  leaps: readonly ClockLeap[],
): void {
  for (const migration of migrations) {
    const leg = relayedFrom(migration, migrations.slice(0, migration.id));
    if (leg !== null) migration.relayOf = leg;
    if (migration.downtime && (migration.proxies || leg !== null))
      migration.downtime.method += '; what a relay before the capture held back is not in it';
  }
  for (const migration of migrations) resume(migration, migrations.slice(0, migration.id));
  if (signals) boundByAnnouncements(migrations, signals);
  for (const { downtime, startNs } of migrations) {
    if (!downtime || !leaps.some((leap) => leap.startNs < downtime.endNs && startNs < leap.endNs)) continue;
    downtime.confidence = Math.min(LEAPT_CONFIDENCE, downtime.confidence ?? 1);
    downtime.method += '; uncertain, for the clock of the capture was set ahead meanwhile';
  }
}
