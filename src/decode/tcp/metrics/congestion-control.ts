// Congestion control: which family a sender belongs to, from how it answers loss and how it probes the path.
//
// Loss-based controls go on after every loss episode with the same share of what they had in flight: Reno 0.5 (RFC 5681),
// CUBIC 0.7 (RFC 9438 §4.6). Rate-based ones go on at the rate they measured, with more one time and less the next; and
// BBR lets the path run empty for 200 ms about every ten seconds, to measure the round trip anew (bbr_update_min_rtt).
// Spacing by a timer alone tells nothing: a fair queue spaces the frames of any control.
//
// Compared is the most in flight in the two round trips before a loss was answered with that in the two after its repair:
// there nothing is lost or reported received, so it is the same from either end. Only episodes repaired without a timeout
// count (a timeout cuts with every family), and only if most of what was repeated was lost: a sender that learns that it
// repeated needlessly takes its answer back (RFC 4015, Linux tcp_try_undo_recovery()). A sender that others limit does not
// fill what its control allows, so that it is not slowed down by loss says something only where the network was the limit.
import { WIDE_ZERO } from '../../../wide-zero.js';
import { NO_DIRECTION, TRIGGER_CONTROL, TRIGGER_FAST, TRIGGER_NONE } from '../../rows.js';
import type { TcpDirection } from '../results.js';
import type { HalfLoops } from '../vantage.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';

/** Loss-based: the answers lie here, within so much of each other; the middle half of them where there are many. */
const CUT_MIN = 0.4;
const CUT_MAX = 0.8;
const CUT_SPREAD = 0.08;
const EPISODES_MIN = 3;
const EPISODES_MANY = 6;
/** Rate-based: half of the answers keep at least this share. */
const KEPT_SHARE = 0.85;
const EPISODES_KEPT = 256;
/** Share of time in recovery up to which loss-based episodes can be told apart. */
const RECOVERY_SHARE_MAX = 0.3;
/** Share of needless repetitions up to which an answer without a cut is one. */
const NEEDLESS_SHARE_MAX = 0.5;
/** Rate-based: share of time in which the network must have been the limit. */
const NETWORK_SHARE_MIN = 0.6;
/** Fewer bytes than this in flight say nothing: every control keeps a few segments out. */
const FLIGHT_MIN_BYTES = 20_000;
/** BBR's dips: four segments in flight (and what its acknowledgements still release) for 200 ms and a round trip, every 10 s. */
const DIP_BYTES = 9_000;
const DIP_MIN_NS = 120e6;
const DIP_MAX_NS = 500e6;
const DIP_FRAMES = 6;
const DIP_DEPTH = 3;
const DIP_EVERY_MIN_NS = 9.5e9;
const DIP_EVERY_MAX_NS = 12e9;
const DIPS_MIN = 2;
/** Least round trip that windows of time are made of. */
const ROUND_MIN_NS = 1e6;
/**
 * Silence after which a sender begins anew: the least retransmission timeout. Linux halves its window for every one, down to
 * ten segments (tcp_cwnd_restart()). All of it leaves at once; what an application hands over bit by bit says nothing.
 */
const RESTART_NS = 200e6;
const RESTART_SEGMENTS_MIN = 8;
const RESTART_SHARE_MAX = 0.5;
const RESTART_ROUNDS = 0.5;

class Answers {
  sentMax = WIDE_ZERO;
  /** Smoothed loops from the capture point to the peer and to this side; together the round trip. */
  ackLoopNs = Number.NaN;
  echoLoopNs = Number.NaN;
  // Most in flight in this round trip and in the one before.
  roundNs = ROUND_MIN_NS;
  roundEndsNs = Number.NEGATIVE_INFINITY;
  roundMax = 0;
  previousMax = 0;
  // The episode, and what followed the one before.
  recoveryPoint = Number.NEGATIVE_INFINITY;
  timeout = false;
  before = 0;
  repairedNs = Number.NaN;
  after = 0;
  cuts: number[] | null = null;
  // Dips.
  dipFromNs = Number.NaN;
  dipFrames = 0;
  dipBefore = 0;
  latestDipNs = Number.NaN;
  dips = 0;
  dipsInStep = true;
  // A restart: most in flight before the pause, and since, until something answers.
  restartNs = Number.NaN;
  restartBefore = 0;
  restartFlight = 0;
  restartedNs = 0;
  /** What was in flight until the first answer came, for each pause after which it was much less than before. */
  restarts: number[] | null = null;

  /** The most in flight of late. */
  get recentMax(): number {
    return Math.max(this.roundMax, this.previousMax);
  }

  beginRound(tNs: number): void {
    const roundTripNs = (this.ackLoopNs || 0) + (this.echoLoopNs || 0);
    this.previousMax = this.roundMax;
    this.roundMax = 0;
    this.roundNs = roundTripNs > ROUND_MIN_NS ? roundTripNs : ROUND_MIN_NS;
    this.roundEndsNs = tNs + this.roundNs;
  }

  /** Takes the first frame of a round; `fresh` of what is in flight are its own. */
  beginRestart(tNs: number, flight: number, fresh: number): void {
    if (!(tNs - this.roundEndsNs > RESTART_NS && flight <= fresh)) return;
    this.restartNs = tNs;
    this.restartBefore = this.recentMax;
    this.restartFlight = 0;
  }

  followRestart(tNs: number, flight: number, fresh: number): void {
    if (flight - fresh >= this.restartFlight) {
      this.restartFlight = flight;
      this.restartedNs = tNs;
      return;
    }
    const atOnce = this.restartedNs - this.restartNs < RESTART_ROUNDS * this.roundNs;
    const answered = tNs - this.restartNs < 2 * this.roundNs;
    const shrunk = this.restartFlight <= RESTART_SHARE_MAX * this.restartBefore;
    if (atOnce && answered && shrunk) this.restarts = added(this.restarts, this.restartFlight);
    this.restartNs = Number.NaN;
  }

  beginEpisode(tNs: number, trigger: number): void {
    this.conclude(tNs, 1);
    this.before = this.recentMax;
    this.recoveryPoint = this.sentMax;
    this.timeout = trigger !== TRIGGER_FAST;
    this.dipFromNs = Number.NaN;
  }

  endEpisode(tNs: number, flight: number): void {
    this.recoveryPoint = Number.NEGATIVE_INFINITY;
    if (!this.timeout && this.before > FLIGHT_MIN_BYTES) this.repairedNs = tNs;
    this.after = this.roundMax = flight;
    this.previousMax = 0;
    this.roundEndsNs = tNs + this.roundNs;
  }

  /** Takes the answer to the latest episode once `rounds` round trips have passed since its repair. */
  conclude(tNs: number, rounds: number): void {
    if (Number.isNaN(this.repairedNs)) return;
    const passed = tNs - this.repairedNs > rounds * this.roundNs;
    if (passed) this.cuts = added(this.cuts, this.after / this.before);
    this.repairedNs = Number.NaN;
  }

  followDip(tNs: number, flight: number): void {
    if (flight <= DIP_BYTES) {
      if (Number.isNaN(this.dipFromNs)) {
        this.dipFromNs = tNs;
        this.dipFrames = 0;
        this.dipBefore = this.recentMax;
      }
      this.dipFrames++;
      return;
    }
    const lastedNs = tNs - this.dipFromNs;
    const apartNs = this.dipFromNs - this.latestDipNs;
    if (lastedNs >= DIP_MIN_NS && this.dipFrames >= DIP_FRAMES && this.dipBefore >= DIP_DEPTH * DIP_BYTES) {
      const inStep = Number.isNaN(apartNs) || (apartNs >= DIP_EVERY_MIN_NS && apartNs <= DIP_EVERY_MAX_NS);
      if (!inStep || lastedNs > DIP_MAX_NS) this.dipsInStep = false;
      this.latestDipNs = this.dipFromNs;
      this.dips++;
    }
    this.dipFromNs = Number.NaN;
  }
}

export function congestionControl({ rows }: MetricContext): TcpMetric {
  const { direction, trigger, flight: flights, offset, payloadLen, loopNs, tNs: timesNs } = rows;
  const states = new PerDirection(() => new Answers());
  return {
    push(from: number, to: number): void {
      for (let row = from; row < to; row++) {
        const flight = flights[row]!;
        const id = direction[row]!;
        if (loopNs[row]! >= 0) {
          const own = states.find(id);
          if (own !== undefined) own.echoLoopNs = smoothed(own.echoLoopNs, loopNs[row]!);
          const other = states.find(id ^ 1);
          if (other !== undefined) other.ackLoopNs = smoothed(other.ackLoopNs, loopNs[row]!);
        }
        if (!(flight >= 0) || id === NO_DIRECTION) continue;
        const state = states.at(id);
        const tNs = timesNs[row]!;
        const end = offset[row]! + payloadLen[row]!;
        if (end > state.sentMax) state.sentMax = end;
        if (state.recoveryPoint > Number.NEGATIVE_INFINITY) {
          if (trigger[row] !== TRIGGER_NONE && trigger[row] !== TRIGGER_FAST) state.timeout = true;
          if (state.sentMax - flight >= state.recoveryPoint) state.endEpisode(tNs, flight);
          continue;
        }
        if (tNs >= state.roundEndsNs) {
          state.beginRestart(tNs, flight, payloadLen[row]!);
          state.beginRound(tNs);
        }
        if (state.restartNs >= 0) state.followRestart(tNs, flight, payloadLen[row]!);
        if (flight > state.roundMax) state.roundMax = flight;
        if (trigger[row] !== TRIGGER_NONE && trigger[row] !== TRIGGER_CONTROL) {
          state.beginEpisode(tNs, trigger[row]!);
          continue;
        }
        if (state.repairedNs > 0) {
          if (flight > state.after) state.after = flight;
          if (tNs - state.repairedNs > 2 * state.roundNs) state.conclude(tNs, 2);
        }
        if (flight <= DIP_BYTES || state.dipFromNs > 0) state.followDip(tNs, flight);
      }
    },
    forget: (connection) => states.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const state = states.find(2 * connection.id + side);
        if (state === undefined) continue;
        into[side].rttSmoothedNs = smoothedRoundTrip(state, connection.directions[side]);
        into[side].congestionControl = summary(state, into[side], connection.directions[side].segmentBytes);
      }
    },
  };
}

/** The list with one more, made with the first. */
function added(list: number[] | null, value: number): number[] {
  if (list === null) return [value];
  if (list.length < EPISODES_KEPT) list.push(value);
  return list;
}

const smoothed = (valueNs: number, sampleNs: number): number =>
  Number.isNaN(valueNs) ? sampleNs : valueNs + (sampleNs - valueNs) / 8;

/** What the receiver takes to acknowledge is part of it; what the sender takes to send is not, as far as the capture point is near it. */
function smoothedRoundTrip({ ackLoopNs, echoLoopNs }: Answers, { toSenderNs, toReceiverNs }: HalfLoops): number | null {
  const echoNs = toSenderNs < toReceiverNs || Number.isNaN(echoLoopNs) ? toSenderNs : echoLoopNs;
  return ackLoopNs + echoNs >= 0 ? ackLoopNs + echoNs : null;
}

function summary(
  state: Answers,
  { limitedBy, pacingRate, retransmissions, retransmittedSegments }: TcpDirection,
  segmentBytes: number,
): TcpDirection['congestionControl'] {
  const cuts = (state.cuts ?? []).sort((a, b) => a - b);
  const at = (share: number): number => cuts[Math.floor(share * (cuts.length - 1))]!;
  const known = cuts.length > 0;
  const median = known ? at(0.5) : null;
  const spread = known ? (cuts.length < EPISODES_MANY ? at(1) - at(0) : at(0.75) - at(0.25)) : null;
  const recovery = limitedBy?.recovery ?? 1;
  const byNetwork = recovery + (limitedBy?.congestion ?? 0) >= NETWORK_SHARE_MIN;
  const answersStand = retransmissions.spurious <= NEEDLESS_SHARE_MAX * retransmittedSegments;
  const probes = state.dips >= DIPS_MIN && state.dipsInStep;
  const restarts = (state.restarts ?? []).filter((flight) => flight >= RESTART_SEGMENTS_MIN * segmentBytes).length;
  let family: 'loss-based' | 'rate-based' | 'unknown' = 'unknown';
  if (probes) family = 'rate-based';
  else if (median !== null && spread !== null && cuts.length >= EPISODES_MIN) {
    const alike = spread <= CUT_SPREAD && median >= CUT_MIN && at(0.75) <= CUT_MAX;
    if (alike && recovery < RECOVERY_SHARE_MAX) family = 'loss-based';
    else if (answersStand && byNetwork && cuts.length > EPISODES_MIN && median >= KEPT_SHARE) family = 'rate-based';
  }
  return {
    family,
    decrease: median,
    spread,
    episodes: cuts.length,
    probeDips: probes ? state.dips : 0,
    restarts: state.roundNs > ROUND_MIN_NS && segmentBytes > 0 ? restarts : null,
    paced: pacingRate !== null,
  };
}
