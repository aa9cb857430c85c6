// Limits: who held a sending direction back, at every moment from its first to its last payload.
//
// The time between two frames of a sender belongs to whatever kept it from sending sooner. That is judged from what the
// sender knew: what was in flight and what the window allowed after the first frame, and whether it was an
// acknowledgement, a timer or nothing from outside that made it send the second. First match:
//
//   recovery              a loss was being repaired, or a retransmission timer ran
//   receiver-window       the window had no room for a further segment, or for what the sender hands down at once
//   congestion            the next frame was released by an acknowledgement, or as much was out as ever since a loss
//   send-buffer           the same, but what was out stands still without loss and without queueing
//   sender-application    window and network had room and the sender did not use it
//   rate-limit            the same, in step with a 100 ms clock (comb.ts; decided afterwards)
//   idle                  nothing was out and nothing was sent for long
//
// Waiting for the last acknowledgements of a burst counts to the pause that follows: it limits nobody. Without the SYNs the
// scale of the window may not be known; then it may as well have been the window, and the time belongs to nobody.
import { WIDE_ZERO } from '../../../wide-zero.js';
import {
  FLAG_ACK,
  FLAG_CWR,
  FLAG_RST,
  FLAG_SYN,
  NO_DIRECTION,
  OPTION_TIMESTAMP,
  TRIGGER_NONE,
  TRIGGER_PROBE,
  TRIGGER_TIMEOUT,
  VERDICT_CAPTURE_DUPLICATE,
  VERDICT_LATE_ORIGINAL,
  VERDICT_NETWORK_DUPLICATE,
  VERDICT_OUT_OF_WINDOW,
} from '../../rows.js';
import { LIMITS, type Limit, TCP_EPISODE_KINDS, type TcpDirection } from '../results.js';
import {
  Account,
  APPLICATION,
  CONGESTION,
  createLedger,
  IDLE,
  RECEIVER_WINDOW,
  RECOVERY,
  SEND_BUFFER,
} from './ledger.js';
import { type MetricContext, PerDirection, type TcpMetric } from './metric.js';
import { CLUSTER_GAP_NS, Pacer, UPPER_SHARED } from './pacer.js';

const SILENCE = TCP_EPISODE_KINDS.indexOf('silence');

/** An acknowledgement's doing: half a round trip, within these bounds. */
const REACTION_MIN_NS = 100e3;
const REACTION_MAX_NS = 10e6;
/** Silence with nothing outstanding: longer than this and four round trips. */
const IDLE_NS = 100e6;
/** As much as ever is out: this share of the largest since the last loss. */
const FULL_SHARE = 0.9;
const FULL_SHARE_AFAR = 0.8;
/** Nearer than this share of the round trip, or with a round trip below this, the capture point is at the sender. */
const NEAR_SHARE = 0.1;
const NEAR_NS = 100e3;
/** A tick of a timestamp clock, and two. */
const TICK_NS = 1e6;
const TICKS_NS = 2e6;
/** What a sender may have out before it knows the path (RFC 6928). */
const INITIAL_SEGMENTS = 10;
/** And after any loss (RFC 5681 §3.1). */
const LEAST_SEGMENTS = 2;
/** Silence after which a sender begins anew: the least retransmission timeout. */
const RESTART_NS = 200e6;
/** Round trips without an answer after which a sender probes for a lost tail: two, less what they vary (RFC 8985 §7.2). */
const PROBE_LOOPS = 1.5;
/** On a path this long gaps within a round trip are pacing, not the application's. */
const PACED_NS = 1e6;
const PACED_SHARE = 0.5;
/** Frames so near to each other were handed down as one. */
const AT_ONCE_NS = 5e3;
/** Most that is handed down as one (Linux GSO_LEGACY_MAX_SIZE). */
const OFFLOAD_BYTES = 65_536;
/** This share of what a sender sent must have left in step with a line; where there is none hardly anything does. */
const LINE_SHARE = 0.25;
/** Segment size until one was seen. */
const SEGMENT_BYTES = 1448;
/** A plateau: the largest flight of each round trip within this share, for so many round trips. */
const PLATEAU_SHARE = 0.02;
const PLATEAU_ROUNDS = 8;
const PLATEAU_ROOM_SHARE = 0.1;
/** Growth that congestion control would at least show in that time, segments a round trip (RFC 9438 §4.3). */
const GROWTH_SEGMENTS = 0.5;
const INFLATION_MAX = 1.1;
/** More time than this without the sender's view: no statement. */
const UNKNOWN_SHARE_MAX = 0.5;

class Sender extends Account {
  /** Time in which it is not known what the sender knew. */
  unknownNs = 0;
  /** When the window last held back a burst. */
  windowedNs = Number.NEGATIVE_INFINITY;
  firstNs = Number.NaN;
  lastNs = Number.NaN;
  bytes = WIDE_ZERO;
  segmentBytes = 1;
  /** The latest frames that left right behind one another: since when, until when, and the application's part of that. */
  queueFromNs = Number.NaN;
  queueToNs = Number.NaN;
  queueOwnNs = WIDE_ZERO;

  /** The frame at `toNs` left right behind the one at `fromNs`; `ownNs` of that was charged to the application. */
  queued(fromNs: number, toNs: number, ownNs: number): void {
    if (this.queueToNs !== fromNs) {
      this.queueFromNs = fromNs;
      this.queueOwnNs = WIDE_ZERO;
    }
    this.queueToNs = toNs;
    this.queueOwnNs += ownNs;
  }

  /** Payload of a full segment, as far as is known. */
  get segment(): number {
    return this.segmentBytes > 1 ? this.segmentBytes : SEGMENT_BYTES;
  }

  /** What it last handed down at once, and the most of that; an offload may have cut it up since. */
  burstBytes = WIDE_ZERO;
  burstMaxBytes = WIDE_ZERO;
  // After the latest frame.
  sentMax = WIDE_ZERO;
  flight = Number.NaN;
  room = Number.NaN;
  /** When it last probed for a lost tail while the window had no room. */
  probedNs = Number.NEGATIVE_INFINITY;
  acked = Number.NaN;
  /** When the newest acknowledgement arrived that it knew, as far as the capture point can tell. */
  heardNs = Number.NaN;
  /** The latest time in which the window was 0; the end grows while it is. */
  shutFromNs = Number.NEGATIVE_INFINITY;
  shutToNs = Number.NEGATIVE_INFINITY;
  shut = false;
  recovering = false;
  recoveryPoint = Number.NEGATIVE_INFINITY;
  everLost = false;
  /** Until this offset is acknowledged the sender makes its window smaller, without a loss. */
  reductionPoint = Number.NEGATIVE_INFINITY;
  /** Largest pipe since the last loss, and largest flight ever. */
  pipeMax = 0;
  flightMax = 0;
  /** Loops to the peer and to this side: smallest and smoothed. */
  ackLoopMinNs = Number.NaN;
  ackLoopNs = Number.NaN;
  echoLoopMinNs = Number.NaN;
  echoLoopNs = Number.NaN;
  // Plateau of what is in flight.
  roundEndsNs = Number.NEGATIVE_INFINITY;
  roundMax = 0;
  plateauBytes = 0;
  plateauRounds = 0;
  /** Made when it is needed. */
  pacer: Pacer | null = null;
  /** Sent while frames of all senders left in step with a line, and its highest rate then, bytes per second. */
  lineBytes = WIDE_ZERO;
  lineRate = Number.NaN;

  /**
   * Time that the sender took after the newest acknowledgement, away from it. Known only where the acknowledgement was news
   * to it; and then to a tick of its clock and what queues added to the loop.
   */
  reactionAfarNs(reactionNs: number, tNs: number, gapNs: number): number {
    if (!(tNs - reactionNs > this.heardNs)) return gapNs;
    return Math.min(gapNs, Math.max(0, reactionNs - TICKS_NS - (this.echoLoopNs - this.echoLoopMinNs || 0)));
  }

  /** Timestamp of the latest frame, NaN without. */
  tsValue = Number.NaN;

  /** How long the sender was silent before the row, by its own clock: away from it a queue may have held the row back. */
  silentNs(stamped: boolean, tsValue: number, gapNs: number): number {
    if (this.near || !stamped || Number.isNaN(this.tsValue)) return gapNs;
    return Math.min(gapNs, (((tsValue - this.tsValue) | 0) + 1) * TICK_NS);
  }

  /** Smoothed and least round trip of the whole loop, of the longer half and the least of the other; NaN, 0 before any. */
  roundTripNs = Number.NaN;
  roundTripMinNs = 0;
  /** An answer within this is the acknowledgement's doing. */
  promptNs = REACTION_MIN_NS;
  /** The capture point is at this side, or the path is so short that it does not matter. */
  near = true;

  loop(sampleNs: number, toPeer: boolean): void {
    if (toPeer) {
      if (!(this.ackLoopMinNs <= sampleNs)) this.ackLoopMinNs = sampleNs;
      this.ackLoopNs = Number.isNaN(this.ackLoopNs) ? sampleNs : this.ackLoopNs + (sampleNs - this.ackLoopNs) / 8;
    } else {
      if (!(this.echoLoopMinNs <= sampleNs)) this.echoLoopMinNs = sampleNs;
      this.echoLoopNs = Number.isNaN(this.echoLoopNs) ? sampleNs : this.echoLoopNs + (sampleNs - this.echoLoopNs) / 8;
    }
    this.#settle();
  }

  #settle(): void {
    const byAcks = this.ackLoopNs + (this.echoLoopMinNs || 0);
    const byEchoes = this.echoLoopNs + (this.ackLoopMinNs || 0);
    this.roundTripNs = byAcks >= byEchoes || Number.isNaN(byEchoes) ? byAcks : byEchoes;
    this.roundTripMinNs = (this.ackLoopMinNs || 0) + (this.echoLoopMinNs || 0);
    this.promptNs = Math.min(REACTION_MAX_NS, Math.max(REACTION_MIN_NS, this.roundTripNs / 2 || 0));
    // Without timestamps the loop to the sender is not timed: then the other one is the whole path, or none.
    this.near = this.roundTripMinNs < NEAR_NS || !(this.echoLoopMinNs >= NEAR_SHARE * this.roundTripMinNs);
  }

  /** Takes a window of the peer. */
  advertised(tNs: number, windowRaw: number): void {
    if (windowRaw === 0 && !this.shut) {
      this.shut = true;
      this.shutFromNs = tNs;
    } else if (!this.shut) return;
    this.shutToNs = tNs;
    if (windowRaw > 0) this.shut = false;
  }

  /** Follows the largest flight of each round trip. */
  round(tNs: number, flight: number, room: number): void {
    if (flight > this.roundMax) this.roundMax = flight;
    // Where the window is the bound, it is no plateau of the sender's.
    if (room < PLATEAU_ROOM_SHARE * flight) this.plateauBytes = 0;
    if (tNs < this.roundEndsNs) return;
    const same = Math.abs(this.roundMax - this.plateauBytes) <= PLATEAU_SHARE * this.plateauBytes;
    if (same) this.plateauRounds++;
    else {
      this.plateauBytes = this.roundMax;
      this.plateauRounds = 0;
    }
    this.roundMax = flight;
    this.roundEndsNs = tNs + (this.roundTripNs || 0);
  }

  /** What is out stands still although congestion control would have let it grow, and no queue builds up. */
  get onPlateau(): boolean {
    const grown = GROWTH_SEGMENTS * this.plateauRounds * this.segmentBytes;
    return (
      !this.everLost &&
      this.plateauRounds >= PLATEAU_ROUNDS &&
      grown > 2 * PLATEAU_SHARE * this.plateauBytes &&
      this.roundTripNs < INFLATION_MAX * this.roundTripMinNs
    );
  }
}

export function limits(context: MetricContext): TcpMetric {
  const { rows, episodes } = context;
  const { direction, verdict, trigger, flags, window, options, tsValue, offset, payloadLen, newBytes, segments } = rows;
  const { tNs: timesNs, loopNs, reactionNs, room: rooms, flight: flights, pipe: pipes } = rows;
  const senders = new PerDirection(() => new Sender());
  const { charge, pause, chargeAnew, close } = createLedger(context);
  /** Whatever spaces the frames of all senders next to the capture point: their host's shaper, or its line. */
  const line = { pacer: new Pacer(UPPER_SHARED), latestNs: Number.NaN };

  /** A pause that window and network do not explain. */
  const chargePause = (
    id: number,
    sender: Sender,
    frame: number,
    fromNs: number,
    toNs: number,
    before: number,
  ): void => {
    const silent = before <= 0 && toNs - fromNs > Math.max(IDLE_NS, 4 * sender.roundTripNs || 0);
    pause(id, sender, silent ? IDLE : APPLICATION, fromNs, toNs, sender.bytes);
    if (silent) episodes.add(SILENCE, id, frame, fromNs, toNs - fromNs, 0, 0);
  };

  /**
   * The window had no room. `ownNs` is what the sender took after it opened, which is its own; and so is the time in which
   * pacing would not have let it send yet.
   */
  const chargeWindow = (
    row: number,
    frame: number,
    id: number,
    sender: Sender,
    tNs: number,
    before: number,
    ownNs: number,
  ): void => {
    const fromNs = sender.lastNs;
    const pacer = sender.roundTripMinNs >= PACED_NS ? sender.pacer : line.pacer;
    if (sender.near && pacer?.paces) {
      const sinceOpenedNs = reactionNs[row]!;
      const opened = sinceOpenedNs > CLUSTER_GAP_NS && sinceOpenedNs < tNs - fromNs;
      const openedNs = opened ? tNs - sinceOpenedNs : tNs;
      const allowedNs = Math.min(tNs, Math.max(fromNs, pacer.allowedNs));
      const closedNs = Math.max(allowedNs, openedNs);
      charge(id, sender, CONGESTION, fromNs, allowedNs);
      charge(id, sender, RECEIVER_WINDOW, allowedNs, closedNs);
      charge(id, sender, CONGESTION, closedNs, tNs);
      return;
    }
    const own = rooms[row]! + newBytes[row]! < 2 * sender.segmentBytes ? 0 : ownNs;
    charge(id, sender, RECEIVER_WINDOW, fromNs, tNs - own);
    if (own > 0) chargePause(id, sender, frame, tNs - own, tNs, before);
  };

  /**
   * The window had no room behind frames that left right behind one another: they had been handed down together, and waited in
   * a queue below the socket and before the capture point. What they filled held the sender back while that queue emptied.
   */
  const chargeQueue = (id: number, sender: Sender): void => {
    const { queueFromNs, queueToNs, queueOwnNs } = sender;
    if (queueToNs !== sender.lastNs || queueOwnNs === 0) return;
    chargeAnew(id, sender, APPLICATION, RECEIVER_WINDOW, queueFromNs, queueToNs, queueOwnNs);
    sender.queueToNs = Number.NaN;
  };

  /**
   * Whether what the latest frame left of the window kept this one back, or may have, where the window is not known; `prompt`: an
   * acknowledgement released it.
   */
  const awaitedRoom = (row: number, sender: Sender, gapNs: number, prompt: boolean): boolean => {
    const { room, segment, near, roundTripMinNs, burstMaxBytes, flight } = sender;
    if (room < segment) return true;
    // A sender that offloads does not use the last third of a window for less than it hands down at once, but waits for more
    // (Linux tcp_tso_should_defer); until a timer makes it send what fits, or one segment (tcp_send_loss_probe). On a long
    // path it hands down little, and what it waits for is its congestion window as well.
    if (!near || roundTripMinNs >= PACED_NS || room >= burstMaxBytes || room >= flight / 2) return false;
    // A congestion window has grown by what was acknowledged, at most (RFC 5681 §3.1): until that allows for the window, it is
    // what is waited for.
    if (INITIAL_SEGMENTS * segment + sender.acked < flight + room) return false;
    const byTimer = reactionNs[row]! >= gapNs && (payloadLen[row]! <= segment || rooms[row]! < segment);
    return prompt || byTimer;
  };

  /**
   * Whether a timer ended a silence of the path with one new segment. That is a probe for a lost tail, and says that data was
   * waiting (RFC 8985 §7.3).
   */
  const probesTail = (row: number, sender: Sender, gapNs: number, silentNs: number): boolean =>
    reactionNs[row]! >= gapNs &&
    silentNs > PROBE_LOOPS * sender.roundTripNs &&
    payloadLen[row]! <= sender.segment &&
    newBytes[row]! > 0;

  /** Whether less is in flight, since a loss, than the window allowed before: where its scale is not known only that rules it out. */
  const isBelowWindow = ({ everLost, flight, flightMax }: Sender): boolean =>
    everLost && flight < FULL_SHARE * flightMax;

  /** Charges the time since the sender's previous frame; `before` is what was in flight just before this one. */
  const judge = (row: number, frame: number, id: number, sender: Sender, tNs: number, before: number) => {
    const fromNs = sender.lastNs;
    const gapNs = tNs - fromNs;
    const cause = trigger[row]!;
    const segment = sender.segment;
    if (sender.recovering || cause === TRIGGER_TIMEOUT || cause === TRIGGER_PROBE) {
      charge(id, sender, RECOVERY, fromNs, tNs);
      return;
    }
    const { near, promptNs } = sender;
    if (sender.shutToNs > fromNs) {
      // The window closed behind the last frame: what was idle before and after that is not the receiver's.
      // Frames of the two ways may be slightly out of order, so the answer may even be stamped after this frame.
      const shutNs = Math.min(tNs, Math.max(fromNs, sender.shutFromNs));
      const openNs = Math.max(shutNs, Math.min(tNs, sender.shutToNs));
      sender.windowedNs = tNs;
      if (sender.room < segment) {
        chargeQueue(id, sender);
        charge(id, sender, RECEIVER_WINDOW, fromNs, shutNs);
      } else if (shutNs > fromNs) chargePause(id, sender, frame, fromNs, shutNs, before);
      charge(id, sender, RECEIVER_WINDOW, shutNs, openNs);
      if (tNs - openNs > promptNs + (near ? 0 : sender.roundTripNs))
        chargePause(id, sender, frame, openNs, tNs, before);
      else charge(id, sender, RECEIVER_WINDOW, openNs, tNs);
      return;
    }
    const stamped = (options[row]! & OPTION_TIMESTAMP) !== 0;
    const silentNs = sender.silentNs(stamped, tsValue[row]!, gapNs);
    const tookNs = near ? reactionNs[row]! : sender.reactionAfarNs(reactionNs[row]!, tNs, silentNs);
    const prompt = !(tookNs > promptNs);
    const known = !Number.isNaN(sender.room);
    const canTell = known || isBelowWindow(sender);
    if (awaitedRoom(row, sender, gapNs, prompt) && (known || !canTell)) {
      if (!known) {
        sender.unknownNs += gapNs;
        return;
      }
      sender.windowedNs = tNs;
      chargeQueue(id, sender);
      const ownNs = prompt || reactionNs[row]! >= gapNs ? 0 : Math.min(tookNs, silentNs);
      chargeWindow(row, frame, id, sender, tNs, before, ownNs);
      return;
    }
    const full = sender.flight >= (near ? FULL_SHARE : FULL_SHARE_AFAR) * sender.pipeMax;
    const paced =
      silentNs <= promptNs && sender.roundTripNs >= PACED_NS && sender.flight >= PACED_SHARE * sender.pipeMax;
    // A burst that the window held back is spread over a round trip at most.
    if (sender.heldBy === RECEIVER_WINDOW && tNs - sender.windowedNs > sender.roundTripNs) sender.heldBy = CONGESTION;
    const spread = silentNs <= (near ? REACTION_MIN_NS : promptNs) && sender.heldBy === RECEIVER_WINDOW;
    // One acknowledgement may cover all that was out. What no congestion window forbids is then the application's choice.
    const allowed = (sender.everLost ? LEAST_SEGMENTS : INITIAL_SEGMENTS) * segment;
    const bounded = before > 0 || !near || sender.flight > allowed;
    const released = (prompt && bounded) || (before > allowed && probesTail(row, sender, gapNs, silentNs));
    if (!spread && ((full && released) || paced)) {
      if (canTell) charge(id, sender, sender.onPlateau ? SEND_BUFFER : CONGESTION, fromNs, tNs);
      else sender.unknownNs += gapNs;
      return;
    }
    // The path spreads what the sender sent at once: such gaps belong to what had held the burst back.
    const held = spread || (!near && silentNs <= promptNs);
    if (held) charge(id, sender, sender.heldBy, fromNs, tNs);
    else chargePause(id, sender, frame, fromNs, tNs, before);
    if (near && gapNs <= REACTION_MIN_NS && sender.roundTripMinNs < PACED_NS) {
      sender.queued(fromNs, tNs, held ? 0 : gapNs);
    }
  };

  /** Recovery, and the most that was out since the last one. */
  const followLoss = (row: number, sender: Sender, gapNs: number): void => {
    const flight = flights[row]!;
    const pipe = pipes[row]!;
    if (trigger[row] !== TRIGGER_NONE) {
      sender.everLost = true;
      if (!sender.recovering) sender.recoveryPoint = sender.sentMax;
    }
    // CWR says that the sender answers a mark (RFC 3168 §6.1.2), which takes it a round trip.
    if (flags[row]! & FLAG_CWR) sender.reductionPoint = sender.sentMax;
    const before = sender.recovering || sender.acked < sender.reductionPoint;
    sender.acked = sender.sentMax - flight;
    sender.recovering = sender.acked < sender.recoveryPoint;
    // A loss, a mark or a long silence (RFC 5681 §4.1) changes the congestion window: what was out before says nothing now.
    if (before || gapNs > RESTART_NS) sender.pipeMax = pipe;
    else if (pipe > sender.pipeMax) sender.pipeMax = pipe;
  };

  const take = (row: number, frame: number, id: number, sender: Sender): void => {
    const tNs = timesNs[row]!;
    const bytes = payloadLen[row]!;
    const end = offset[row]! + bytes;
    const fresh = Number.isNaN(sender.lastNs) ? bytes : Math.max(0, end - sender.sentMax);
    if (end > sender.sentMax) sender.sentMax = end;
    const flight = flights[row]!;
    if (Number.isNaN(sender.firstNs)) sender.firstNs = sender.lastNs = tNs;
    const at = tNs > sender.lastNs ? tNs : sender.lastNs;
    if (trigger[row] === TRIGGER_PROBE && sender.room < sender.segment) {
      // The window had no room, and a probe does not end that: the next frame tells what was waited for.
      sender.probedNs = at;
      return;
    }
    if (Number.isNaN(flight) || Number.isNaN(sender.flight)) sender.unknownNs += at - sender.lastNs;
    else judge(row, frame, id, sender, at, flight - fresh);
    const count = segments[row]!;
    if (bytes > count * sender.segmentBytes) sender.segmentBytes = Math.ceil(bytes / count);
    const gapNs = at - sender.lastNs;
    const hadRoom = rooms[row]! + fresh >= sender.segmentBytes;
    if (sender.roundTripMinNs >= PACED_NS) {
      sender.pacer ??= new Pacer();
      sender.pacer.sent(at, gapNs, bytes, reactionNs[row]!, hadRoom);
    } else {
      const { pacer } = line;
      pacer.sent(at, at - line.latestNs, bytes, reactionNs[row]!, hadRoom);
      line.latestNs = at;
      if (pacer.paces) {
        sender.lineBytes += bytes;
        if (!(pacer.rate <= sender.lineRate)) sender.lineRate = pacer.rate;
      }
    }
    sender.lastNs = at;
    sender.tsValue = options[row]! & OPTION_TIMESTAMP ? tsValue[row]! : Number.NaN;
    sender.bytes += bytes;
    sender.burstBytes = gapNs <= AT_ONCE_NS ? sender.burstBytes + bytes : bytes;
    if (sender.burstBytes > sender.burstMaxBytes) sender.burstMaxBytes = Math.min(sender.burstBytes, OFFLOAD_BYTES);
    sender.flight = flight;
    sender.room = rooms[row]!;
    sender.heardNs = at - reactionNs[row]!;
    followLoss(row, sender, gapNs);
    if (flight >= 0) sender.round(at, flight, sender.room);
    if (flight > sender.flightMax) sender.flightMax = flight;
  };

  return {
    push(from: number, to: number, zeroFrame: number): void {
      for (let row = from; row < to; row++) {
        const id = direction[row]!;
        if (id === NO_DIRECTION) continue;
        const kind = verdict[row]!;
        if (kind === VERDICT_CAPTURE_DUPLICATE || kind === VERDICT_NETWORK_DUPLICATE) continue;
        if (loopNs[row]! >= 0) {
          senders.find(id)?.loop(loopNs[row]!, false);
          senders.find(id ^ 1)?.loop(loopNs[row]!, true);
        }
        if (flags[row]! & FLAG_ACK && !(flags[row]! & (FLAG_SYN | FLAG_RST))) {
          senders.find(id ^ 1)?.advertised(timesNs[row]!, window[row]!);
        }
        if (payloadLen[row] === 0 || kind === VERDICT_LATE_ORIGINAL || kind === VERDICT_OUT_OF_WINDOW) continue;
        take(row, zeroFrame + row, id, senders.at(id));
      }
    },
    forget: (connection) => senders.forget(connection),
    fill(connection, into) {
      for (const side of [0, 1] as const) {
        const id = 2 * connection.id + side;
        const sender = senders.find(id);
        if (!sender || !(sender.lastNs > sender.firstNs)) continue;
        if (sender.probedNs > sender.lastNs) charge(id, sender, RECEIVER_WINDOW, sender.lastNs, sender.probedNs);
        close(id, sender);
        // Away from the sender only what it echoes tells what it waited for.
        const { atSender, timestamps } = connection.directions[side];
        into[side].limitedBy = atSender || timestamps ? shares(sender) : null;
        into[side].comb = sender.comb?.summary() ?? null;
        into[side].pacingRate = pacingRate(sender);
        into[side].limitSummary = summary(into[side], lineRate(sender));
      }
    },
  };
}

/** Known at the sender only, and where gaps are long enough to be a timer's. */
const pacingRate = ({ near, roundTripMinNs, pacer }: Sender): number | null =>
  near && roundTripMinNs >= PACED_NS && pacer?.paces ? pacer.rate : null;

/** Shares of the time from first to last payload; they sum to 1. Null when too much of it is not known. */
function shares(sender: Sender): Record<Limit, number> | null {
  const totalNs = sender.lastNs - sender.firstNs;
  if (sender.unknownNs > UNKNOWN_SHARE_MAX * totalNs) return null;
  // Clocks that step can take back more time than was charged: such a state had none.
  const spentNs = LIMITS.map((_, state) => Math.max(0, sender.spentNs?.[state] ?? 0));
  const knownNs = spentNs.reduce((sum, ns) => sum + ns, 0);
  if (knownNs === 0) return null;
  return Object.fromEntries(LIMITS.map((limit, state) => [limit, spentNs[state]! / knownNs])) as Record<Limit, number>;
}

/**
 * Rate at which frames leave one after the other although acknowledgements come at once, bytes per second; null where they do
 * not. Something below the socket and before the capture point spaces them: a queueing discipline, or the line itself.
 */
const lineRate = ({ bytes, lineBytes, lineRate: rate }: Sender): number | null =>
  lineBytes > LINE_SHARE * bytes ? rate : null;

/** The two largest shares in words; `lineBytesPerS` see lineRate(). */
function summary(direction: TcpDirection, lineBytesPerS: number | null): string | null {
  const { limitedBy, window } = direction;
  if (!limitedBy) return null;
  const ranked = LIMITS.filter((limit) => limitedBy[limit] >= 0.05).sort((a, b) => limitedBy[b] - limitedBy[a]);
  const detail: Partial<Record<Limit, string>> = {
    ...(lineBytesPerS !== null && {
      'sender-application': `the sender's own shaper or line rather than the program: frames leave at ${Math.round((8 * lineBytesPerS) / 1e6)} Mbit/s`,
    }),
    recovery: `${direction.retransmittedSegments} segments sent again`,
    'receiver-window': window
      ? `window ${window.p50} bytes at the median, ${window.max} at most`
      : 'window scale unknown',
    'rate-limit': direction.comb ? `${Math.round(direction.comb.bytesPerPeriod)} bytes every 100 ms` : 'every 100 ms',
  };
  const words = ranked.slice(0, 2).map((limit) => {
    const percent = Math.round(limitedBy[limit] * 100);
    return detail[limit] ? `${limit} ${percent} % (${detail[limit]})` : `${limit} ${percent} %`;
  });
  return words.join(', ');
}
