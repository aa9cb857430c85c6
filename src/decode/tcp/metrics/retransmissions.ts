// Retransmissions: how many, what triggered them, which were needless, and the episodes they form.
//
// Counted are segments on the wire, as the sender's kernel counts them: an offloaded frame sent again counts all its
// segments. A retransmission turns out needless when the receiver reports a duplicate (RFC 2883), when the first
// acknowledgement for it answers the original (RFC 3522), or when the original arrives after it.
//
// Away from the sender some retransmissions are lost before the capture point. Where each packet counts the IP
// identification on, they are inferred: identifications missing beyond what lost originals explain.
import { WIDE_ZERO } from '../../../wide-zero.js';
import {
  FLAG_ACK,
  NO_DIRECTION,
  OPTION_DUPLICATE,
  OPTION_TIMESTAMP,
  TRIGGER_CONTROL,
  TRIGGER_FAST,
  TRIGGER_NONE,
  TRIGGER_PROBE,
  TRIGGER_TIMEOUT,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_KEEP_ALIVE,
  VERDICT_LATE_ORIGINAL,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_OUT_OF_WINDOW,
  VERDICT_REORDERED,
  VERDICT_WINDOW_PROBE,
} from '../../rows.js';
import { grown } from '../ranges.js';
import { TCP_EPISODE_KINDS, TCP_EVENT_KINDS, type TcpDirection } from '../results.js';
import { type DirectionEnd, type MetricContext, PerDirection, type TcpMetric } from './metric.js';

const TRIGGERS = 7;
const event = (kind: (typeof TCP_EVENT_KINDS)[number]): number => TCP_EVENT_KINDS.indexOf(kind);
const SPURIOUS = event('retransmission-spurious');
const UNSEEN = event('acked-unseen');
const CONGESTION = event('ecn-ce');
/** Event kind by trigger. */
const EVENT_OF_TRIGGER = [
  -1,
  event('retransmission-fast'),
  event('retransmission-timeout'),
  event('retransmission-tail-loss-probe'),
  event('retransmission-other'),
  // SYN and FIN are repeated when a timer runs out.
  event('retransmission-timeout'),
  event('retransmission-other'),
];
/** Event kind by verdict, −1 for those that are none. */
const EVENT_OF_VERDICT = new Int8Array(16).fill(-1);
EVENT_OF_VERDICT[VERDICT_REORDERED] = event('reordered');
EVENT_OF_VERDICT[VERDICT_LATE_ORIGINAL] = event('late-original');
EVENT_OF_VERDICT[VERDICT_NETWORK_DUPLICATE] = event('network-duplicate');
EVENT_OF_VERDICT[VERDICT_WINDOW_PROBE] = event('window-probe');
EVENT_OF_VERDICT[VERDICT_KEEP_ALIVE] = event('keep-alive');
EVENT_OF_VERDICT[VERDICT_OUT_OF_WINDOW] = event('out-of-window');
/** ECN field of a packet that met congestion. Source: RFC 3168 §5. */
const CONGESTION_EXPERIENCED = 3;

/** Retransmissions remembered for a late verdict. */
const REMEMBERED = 1024;
/** Room for them at first; doubled as it fills. */
const FIRST_REMEMBERED = 8;
/** Of these, how many an acknowledgement is checked against. */
const CHECKED = 64;
const FIELDS = 6;
const START = 0;
const END = 1;
const TS_VALUE = 2;
const SEGMENTS = 3;
const EVENT = 4;
const SETTLED = 5;
/** The sender's identification counts other traffic as well when it runs ahead of what was sent by this share. */
const INFERRED_SHARE_MAX = 0.25;

/** What a direction with data has sent. */
class Sent {
  sentMax = WIDE_ZERO;
  /** Before the first acknowledgement of data its first byte. */
  acked = 0;
  /** When that was, or when something began to be waited for. */
  heardNs = Number.NaN;
  dataSegments = 0;
  frames = 0;
  dataFrames = 0;
  reordered = 0;
  late = 0;
  /** Made with the first: most directions never repeat anything. */
  repeats: Repeats | null = null;
}

/** What it has sent again. */
class Repeats {
  readonly segments = new Float64Array(TRIGGERS);
  bytes = 0;
  spurious = 0;
  /** Segments of retransmissions that showed bytes for the first time: their originals were lost before us. */
  fills = 0;
  // Episode.
  recoveryPoint = Number.NEGATIVE_INFINITY;
  startNs = 0;
  firstFrame = 0;
  waitedNs = 0;
  ackedBefore = 0;
  episodeBytes = 0;
  needlessBytes = 0;
  timeouts = 0;
  fasts = 0;
  // Retransmissions that may still turn out needless.
  #log = new Float64Array(0);
  #logged = 0;
  /** Older ones are settled. */
  #open = 0;

  remember(start: number, end: number, tsValue: number, segments: number, eventRow: number): void {
    const at = (this.#logged++ % REMEMBERED) * FIELDS;
    if (at >= this.#log.length) this.#log = grown(this.#log, FIRST_REMEMBERED * FIELDS);
    this.#log.set([start, end, tsValue, segments, eventRow, 0], at);
  }

  /** Settles the latest retransmission of [start, end) as needless; returns its event row, −1 when there is none. */
  needless(start: number, end: number): number {
    const log = this.#log;
    for (let age = 1; age <= Math.min(this.#logged, REMEMBERED); age++) {
      const at = ((this.#logged - age) % REMEMBERED) * FIELDS;
      if (log[at + START]! < end && log[at + END]! > start) return this.#judge(log, at);
    }
    return -1;
  }

  /** Checks an acknowledgement up to `acked` that echoes `tsEcho` (−1: none); returns an event row as above. */
  answered(before: number, acked: number, tsEcho: number): number {
    const log = this.#log;
    if (this.#open === this.#logged) return -1;
    let row = -1;
    for (let entry = Math.max(this.#open, this.#logged - CHECKED); entry < this.#logged; entry++) {
      const at = (entry % REMEMBERED) * FIELDS;
      if (log[at + END]! > acked || log[at + SETTLED] !== 0) continue;
      // Only the frame at the left edge is surely the one whose timestamp is echoed (RFC 7323 §4.3).
      const atEdge = log[at + START]! <= before;
      if (atEdge && tsEcho >= 0 && log[at + TS_VALUE]! >= 0 && ((tsEcho - log[at + TS_VALUE]!) | 0) < 0) {
        row = this.#judge(log, at);
      }
    }
    if (acked >= this.recoveryPoint) this.#open = this.#logged;
    return row;
  }

  #judge(log: Float64Array, at: number): number {
    if (log[at + SETTLED] !== 0) return -1;
    log[at + SETTLED] = 1;
    this.spurious += log[at + SEGMENTS]!;
    this.needlessBytes += log[at + END]! - log[at + START]!;
    return log[at + EVENT]!;
  }
}

export function retransmissions({ rows, events, episodes }: MetricContext): TcpMetric {
  const {
    direction,
    verdict,
    trigger,
    flags,
    options,
    ackOffset,
    offset,
    payloadLen,
    segments,
    newBytes,
    ack,
    duplicateTo,
    tsEcho,
    duplicateFrom,
    tsValue,
    ecn,
    unseenBytes,
    tNs,
  } = rows;
  const states = new PerDirection(() => new Sent());

  const addEvent = (kind: number, direction: number, frame: number, tNs: number, offset: number, bytes: number) => {
    const row = events.rows;
    events.add(kind, direction, frame, tNs, offset, bytes);
    return events.rows > row ? row : -1;
  };
  const markNeedless = (row: number): void => {
    if (row >= 0) events.set(row, 'kind', SPURIOUS);
  };
  /** Ends the episode that goes on, if one does; `acked` is what is acknowledged by then. */
  const closeEpisode = (direction: number, repeats: Repeats, acked: number, tNs: number): void => {
    if (repeats.recoveryPoint === Number.NEGATIVE_INFINITY) return;
    const kind = repeats.timeouts === 0 ? 'recovery' : repeats.fasts === 0 ? 'timeout' : 'mixed';
    const lost = Math.max(0, repeats.episodeBytes - repeats.needlessBytes);
    const durationNs = tNs - repeats.startNs;
    const heldNs = repeats.waitedNs + durationNs;
    const delivered = acked - repeats.ackedBefore;
    episodes.add(
      TCP_EPISODE_KINDS.indexOf(kind),
      direction,
      repeats.firstFrame,
      repeats.startNs,
      durationNs,
      lost,
      repeats.episodeBytes,
      repeats.waitedNs,
      Number.NaN, // the rates around it are known at the end, see episodes.ts
      heldNs > 0 ? (delivered * 1e9) / heldNs : Number.NaN,
      Number.NaN,
      Number.NaN,
    );
    repeats.recoveryPoint = Number.NEGATIVE_INFINITY;
  };
  const takeRepeat = (zeroFrame: number, row: number, id: number, state: Sent): void => {
    const repeats = (state.repeats ??= new Repeats());
    const cause = trigger[row]!;
    const count = segments[row]! || 1;
    const start = offset[row]!;
    const bytes = payloadLen[row]!;
    const frame = zeroFrame + row;
    const t = tNs[row]!;
    repeats.segments[cause]! += count;
    repeats.bytes += bytes;
    const eventRow = addEvent(EVENT_OF_TRIGGER[cause]!, id, frame, t, start, bytes);
    if (cause === TRIGGER_CONTROL) return;
    const stamp = options[row]! & OPTION_TIMESTAMP ? tsValue[row]! : -1;
    if (newBytes[row]! > 0) repeats.fills += count;
    repeats.remember(start, start + bytes, stamp, count, eventRow);
    if (repeats.recoveryPoint === Number.NEGATIVE_INFINITY) {
      repeats.startNs = t;
      repeats.firstFrame = frame;
      repeats.waitedNs = Math.max(0, t - state.heardNs || 0);
      repeats.ackedBefore = state.acked;
      repeats.episodeBytes = repeats.needlessBytes = repeats.timeouts = repeats.fasts = 0;
    }
    if (repeats.recoveryPoint < state.sentMax) repeats.recoveryPoint = state.sentMax;
    repeats.episodeBytes += bytes;
    if (cause === TRIGGER_TIMEOUT) repeats.timeouts++;
    else if (cause === TRIGGER_FAST) repeats.fasts++;
  };
  const takeDuplicateReport = (row: number, data: Repeats): void => {
    const raw = ack[row]!;
    const acked = ackOffset[row]!;
    const from = acked + ((duplicateFrom[row]! - raw) | 0);
    markNeedless(data.needless(from, acked + ((duplicateTo[row]! - raw) | 0)));
  };

  return {
    push(from: number, to: number, zeroFrame: number): void {
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (id === NO_DIRECTION) continue;
        const kind = verdict[row]!;
        if (kind === VERDICT_CAPTURE_DUPLICATE) continue;
        const t = tNs[row]!;
        const bytes = payloadLen[row]!;
        const noted = EVENT_OF_VERDICT[kind]!;
        // Sides that only acknowledge have no state here.
        const state = bytes > 0 || noted >= 0 || trigger[row] !== TRIGGER_NONE ? states.at(id) : states.find(id);
        if (state !== undefined) state.frames++;
        if (state !== undefined && noted >= 0) {
          addEvent(noted, id, zeroFrame + row, t, offset[row]!, bytes);
          if (kind === VERDICT_REORDERED) state.reordered++;
          else if (kind === VERDICT_LATE_ORIGINAL) {
            state.late++;
            if (state.repeats !== null) markNeedless(state.repeats.needless(offset[row]!, offset[row]! + bytes));
          }
        }
        if (kind === VERDICT_NETWORK_DUPLICATE || kind === VERDICT_OUT_OF_WINDOW) continue;
        if (ecn[row] === CONGESTION_EXPERIENCED) {
          addEvent(CONGESTION, id, zeroFrame + row, t, offset[row]!, bytes);
        }
        if (flags[row]! & FLAG_ACK) {
          const acked = ackOffset[row]!;
          const data = states.find(id ^ 1);
          if (data !== undefined && data.sentMax > 0) {
            const { repeats } = data;
            if (repeats !== null && options[row]! & OPTION_DUPLICATE) takeDuplicateReport(row, repeats);
            if (acked > data.acked) {
              if (repeats !== null) {
                const echo = options[row]! & OPTION_TIMESTAMP ? tsEcho[row]! : -1;
                markNeedless(repeats.answered(data.acked, acked, echo));
                if (acked >= repeats.recoveryPoint) closeEpisode(id ^ 1, repeats, acked, t);
              }
              data.acked = acked;
              data.heardNs = t;
            }
          }
          if (unseenBytes[row]! > 0) {
            addEvent(UNSEEN, id ^ 1, zeroFrame + row, t, acked, unseenBytes[row]!);
          }
        }
        if (state === undefined) continue;
        if (trigger[row] !== TRIGGER_NONE) takeRepeat(zeroFrame, row, id, state);
        if (bytes > 0) {
          state.dataFrames++;
          state.dataSegments += segments[row]!;
          const end = offset[row]! + bytes;
          if (state.sentMax <= state.acked) state.heardNs = t;
          if (end > state.sentMax) state.sentMax = end;
        }
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const id = 2 * connection.id + side;
        const state = states.find(id);
        if (!state) continue;
        if (state.repeats) closeEpisode(id, state.repeats, state.acked, connection.endNs);
        fillCounts(state, inferred(connection.directions[side], state), into[side]);
      }
    },
  };
}

function fillCounts(state: Sent, inferred: Inferred, into: TcpDirection): void {
  const { segments: by, bytes, spurious } = state.repeats ?? new Repeats();
  const seen = by.reduce((sum, segments) => sum + segments, 0);
  const timeout = by[TRIGGER_TIMEOUT]! + by[TRIGGER_CONTROL]!;
  const other = seen - by[TRIGGER_FAST]! - timeout - by[TRIGGER_PROBE]!;
  into.retransmittedSegments = seen + inferred.segments;
  into.retransmittedBytes = bytes;
  into.retransmissions = {
    fast: by[TRIGGER_FAST]! + inferred.fast,
    timeout,
    tailLossProbe: by[TRIGGER_PROBE]!,
    spurious,
    other: other + inferred.segments - inferred.fast,
  };
  into.outOfOrderSegments = state.reordered;
  into.lateOriginals = state.late;
  into.inferredRetransmissions = inferred.segments;
  into.retransmittedAtLeast = !inferred.counted && into.retransmittedSegments > 0;
}

interface Inferred {
  readonly segments: number;
  /** Of these the ones that a reported loss triggered. */
  readonly fast: number;
  /** Every packet that was sent is accounted for. */
  readonly counted: boolean;
}

/** Retransmissions that were lost before the capture point, or that look new here because their original was lost. */
function inferred(own: DirectionEnd, state: Sent): Inferred {
  // Without a frame of the peer no time tells where the capture was taken. A repetition that brings bytes not seen before does:
  // the first copy was lost on the way here.
  const lostBefore = own.peerSeen ? !own.atSender : (state.repeats?.fills ?? 0) > 0;
  if (!lostBefore) return { segments: 0, fast: 0, counted: true };
  const missing = missingByIpId(own, state);
  const segments = missing ?? own.overtaken;
  return { segments, fast: Math.min(segments, own.overtakenFast), counted: missing !== null };
}

/** Identifications missing beyond what lost originals explain; null where identifications do not tell. */
function missingByIpId(own: DirectionEnd, state: Sent): number | null {
  const { missingPackets, segmentBytes, unseenBytes, missingBytes } = own;
  if (missingPackets === null || Number.isNaN(segmentBytes)) return null;
  // Lost acknowledgements count as well; where they are many, nothing can be said.
  if (state.dataFrames * 2 < state.frames) return null;
  const lostOriginals = (state.repeats?.fills ?? 0) + Math.ceil((unseenBytes + missingBytes) / segmentBytes);
  const beyond = missingPackets - lostOriginals;
  return beyond <= INFERRED_SHARE_MAX * state.dataSegments ? Math.max(0, beyond) : null;
}
