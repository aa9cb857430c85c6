// Switch-over: when the guest stopped and when it ran again, as far as the wire shows.
//
// Downtime. The guest stops after the last byte of the last PART left and before the switchover command or the END
// header did; it runs again shortly before the destination says SHUT (pre-copy), or right after it answered the last
// ping in the package (post-copy). Without a return path the end of the stream is all there is. Each is reported with
// its method. Source: QEMU migration/migration.c, migration_completion(), postcopy_start(), process_incoming_migration_bh().
import { confidenceOf, type Doubt, isMirrorPause, roundTripDoubt } from './downtime.js';
import type { RecordPlace, Section, SectionEnd, StreamClock } from './records.js';
import type { Downtime } from './results.js';
import { type Flight, ITERATION_NS, SendBuffer, type Written } from './send-buffer.js';
import { type FrameStamp, type Lags, NO_LAGS } from './send-lag.js';

/** Channels that are silent for longer were not held up by the path: the source sleeps out its 100 ms. */
const PACING_NS = 25e6;
/** The path may silence them once. */
const PACED_PARTS = 2;
/** Send buffers grow to some MB and are full after that long, even of a slow migration. */
const SETTLED_NS = 500e6;
/** Linux delays an acknowledgement by 40 ms and a tick; a small segment behind another one may wait for it (RFC 896). */
const DELAYED_ACK_NS = 38e6;
const LATE_ACK_NS = 50e6;

/** What else is known of the migration in the end; times in ns, NaN where something was not seen. */
export interface Surroundings {
  readonly startNs: number;
  readonly endMarkNs: number;
  readonly shutNs: number;
  /** The end of the main channel's stream, or the last of it. */
  readonly lastNs: number;
  /** The switch to post-copy, and the answer to the last ping in its package; null without. */
  readonly postcopy: { readonly switchNs: number; readonly pongNs: number } | null;
  readonly isMultifd: boolean;
  readonly hasReturnPath: boolean;
  /** The capture ended before the end mark came and before the source closed. */
  readonly isCutOff: boolean;
  /** The capture began when the migration was under way. */
  readonly isJoined: boolean;
  /** Nothing of the main channel is missing. */
  readonly isMainRead: boolean;
  /** Nothing is missing at all, and no page was sent twice. */
  readonly isUnrepeated: boolean;
  /** Of the main connection; null where that is not known. */
  readonly flight: Flight | null;
  /** When disks that are copied between the same hosts were last asked for anything. */
  readonly mirrorEndsNs: readonly number[];
}

/** When the guest stopped, and in words what says so. */
interface Stop extends Written {
  readonly mark: string;
}

export class SwitchOver {
  readonly #lags: Lags;
  readonly #sendBuffer = new SendBuffer();
  /** Those of multifd channels, by lane. */
  readonly #clocks: StreamClock[] = [];
  /** How many RAM PART sections were seen before the mark, and when the two newest began; Infinity before. */
  #parts = 0;
  #lastPartNs = Number.POSITIVE_INFINITY;
  #beforeLastPartNs = Number.POSITIVE_INFINITY;
  #lastPrecopyNs = Number.NaN;
  /** When the newest RAM PART was over, and when a multifd channel went on with pages behind it; NaN before. */
  #partEndNs = Number.NaN;
  #resumedNs = Number.NaN;
  /** When the newest byte on any of them was there before that. */
  #quietNs = Number.NaN;
  /** When its footer came, and how long its end came behind what was sent before it. */
  #footerNs = Number.NaN;
  #heldNs = Number.NaN;
  /** Nothing of that section was outstanding then. */
  #resumedLevel = false;
  /** How many of the newest in a row were followed by silence. */
  #pacedParts = 0;
  #stopMarkNs = Number.NaN;
  #stopMark = '';
  #stopOffset = 0;
  /** How late the newest RAM PART and that mark were captured. */
  #partLagNs = 0;
  #stopLagNs = 0;
  /** The timestamps of those frames. */
  #partStamp: FrameStamp | null = null;
  #stopStamp: FrameStamp | null = null;
  /** When the mark was written if the send buffer was as large as any. */
  #stopEarliestNs = Number.NaN;
  /** What the guest did when it was stopped; null while not known. */
  #runState: string | null = null;
  #isRebootable = true;

  constructor(lags: Lags = NO_LAGS) {
    this.#lags = lags;
  }

  /** See MigrationSink. */
  runState(state: string, isRebootable: boolean): void {
    this.#runState = state;
    this.#isRebootable = isRebootable;
  }

  /** A multifd channel, by its lane, comes by `clock`. */
  join(lane: number, clock: StreamClock): void {
    this.#clocks[lane] = clock;
  }

  /** A page at `offset` of the main channel was on the wire; in stream order. */
  left(offset: number, tNs: number): void {
    if (Number.isNaN(this.#stopMarkNs)) this.#sendBuffer.left(offset, tNs);
  }

  /** Any section begins; `pages` were sent before it. */
  section({ name, offset, tNs, frame }: Section, pages: number): void {
    this.#lags.of(frame); // the first ones are the quickest, before there is anything to wait behind
    this.#later(frame);
    if (name !== 'ram') this.#sendBuffer.sectionEnds(offset, tNs, pages);
  }

  /** A RAM PART begins; `pages` were sent before it. */
  part({ offset, tNs, frame }: Section, pages: number): void {
    if (!Number.isNaN(this.#stopMarkNs)) return;
    this.#partEnds(tNs); // that of the one before may be lost
    this.#parts++;
    this.#beforeLastPartNs = Math.min(this.#lastPartNs, tNs);
    this.#lastPartNs = tNs;
    this.#partLagNs = this.#lags.of(frame);
    this.#partStamp = this.#lags.stamp(frame);
    this.#sendBuffer.section(offset, tNs, pages);
  }

  partEnd({ contentsNs, tNs }: SectionEnd): void {
    if (!Number.isNaN(this.#stopMarkNs)) return;
    this.#heldNs = contentsNs - (this.#footerNs < contentsNs ? this.#footerNs : this.#partEndNs);
    this.#footerNs = tNs;
    this.#partEnds(contentsNs);
  }

  /** A mark has shown that the guest had stopped. */
  get isStopped(): boolean {
    return !Number.isNaN(this.#stopMarkNs);
  }

  /** No multifd channel has gone on with pages since the newest RAM PART was over. */
  get isBehindPart(): boolean {
    return Number.isNaN(this.#resumedNs);
  }

  /** A multifd channel goes on with pages; `isLevel` where nothing of the section before is outstanding. */
  resumes(lane: number, tNs: number, isLevel: boolean): void {
    this.#resumedNs = tNs;
    if (Number.isNaN(this.#stopMarkNs)) this.#quietNs = this.#newestNs(lane);
    this.#resumedLevel = isLevel;
  }

  /**
   * The guest has stopped by now: the first such mark counts.
   *
   * @param lastMemoryNs  when the last page was sent before it
   * @returns false where it had stopped before
   */
  stop(place: RecordPlace, mark: string, lastMemoryNs: number): boolean {
    if (!Number.isNaN(this.#stopMarkNs)) return false;
    this.#stopMarkNs = place.tNs;
    this.#stopMark = mark;
    this.#stopOffset = place.offset;
    this.#stopLagNs = this.#lags.of(place.frame);
    this.#stopStamp = this.#lags.stamp(place.frame);
    this.#stopEarliestNs = this.#sendBuffer.earliestNs(place.offset, place.tNs);
    this.#lastPrecopyNs = lastMemoryNs;
    if (this.isBehindPart) this.#quietNs = this.#newestNs(null);
    return true;
  }

  /** The main channel is closed, in `frame`: nothing is left for it to wait behind. */
  closed(frame: number): void {
    this.#later(frame);
  }

  /** What comes behind the mark may be quicker than all before it, of which a capture may have seen little. */
  #later(frame: number): void {
    if (Number.isNaN(this.#stopMarkNs)) return;
    const partNs = this.#lags.behind(this.#partStamp, frame);
    const stopNs = this.#lags.behind(this.#stopStamp, frame);
    if (partNs > this.#partLagNs) this.#partLagNs = partNs;
    if (stopNs > this.#stopLagNs) this.#stopLagNs = stopNs;
  }

  /** null where no mark was seen, or the end lies before it. */
  downtime(seen: Surroundings): Downtime | null {
    if (Number.isNaN(this.#stopMarkNs)) return null;
    const { postcopy, isMultifd, hasReturnPath } = seen;
    let endNs: number;
    let until: string;
    const isAnswered = !Number.isNaN(postcopy ? postcopy.pongNs : seen.shutNs);
    // The estimate is what QEMU calls downtime: from the stop to SHUT, or else to the last byte handed to the socket. In
    // the second case both ends wait in the send buffer and the delay cancels out.
    let startNs = this.#stopMarkNs;
    const [silentNs, resumedNs] = isMultifd ? this.#silence : [this.#lastPrecopyNs, this.#stopMarkNs];
    const isPaused = !postcopy && isMirrorPause(seen.mirrorEndsNs, silentNs, resumedNs);
    const written: Stop = isMultifd
      ? this.#multifdStop(isPaused)
      : {
          ...this.#sendBuffer.written(this.#stopOffset, this.#stopMarkNs, seen.flight, isPaused),
          mark: `${this.#stopMark}, less the time in the send buffer,`,
        };
    const writtenNs = written.tNs;
    if (postcopy) {
      endNs = isAnswered ? postcopy.pongNs : postcopy.switchNs;
      until = isAnswered ? 'answer to the last ping in the package' : 'end of the package';
    } else if (isAnswered) {
      startNs = writtenNs;
      endNs = seen.shutNs;
      until = 'SHUT on the return path';
    } else {
      // The main channel beside those of multifd is not held up at either end; with a return path QEMU waits for SHUT,
      // which the capture does not hold.
      if (isMultifd || hasReturnPath) startNs = writtenNs;
      endNs = seen.lastNs;
      until = hasReturnPath ? 'end of the stream, for SHUT is not in the capture' : 'end of the stream';
    }
    if (endNs < this.#stopMarkNs) return null;
    // Beside multifd channels the main one's small segments wait for each other (RFC 896) and in the queues of the path, but
    // not for as long as a section takes.
    let earliestNs = Math.min(writtenNs, isMultifd ? this.#beforeLastPartNs : this.#stopEarliestNs);
    const isLastPartUnseen = isMultifd && !(this.#partEndNs <= this.#stopMarkNs);
    if (isLastPartUnseen || (isMultifd && seen.isJoined && this.#parts < 2))
      earliestNs = Math.min(writtenNs, seen.startNs);
    if (this.#lastPrecopyNs < earliestNs) earliestNs = this.#lastPrecopyNs;
    const mark = startNs < this.#stopMarkNs ? written.mark : this.#stopMark;
    // What QEMU calls downtime leaves out what the guest waited for the send buffer; its pause does not.
    const waitedMs = Math.round((startNs - writtenNs) / 1e6);
    const paused = waitedMs > 0 ? `; the guest stopped about ${waitedMs} ms before that mark left the send buffer` : '';
    // Where both ends wait, an error cancels out, too, but for what the window changes meanwhile, by the round trip. The package
    // of a post-copy waits at one end only.
    let waitDoubtNs = written.doubtNs;
    if (startNs > writtenNs) waitDoubtNs = written.doubtNs / 2 + (seen.flight?.rttNs ?? 0);
    if (postcopy) waitDoubtNs = Math.max(written.doubtNs, startNs - writtenNs);
    const doubts: Doubt[] = [{ ns: waitDoubtNs, why: 'how long it waited on its way out shows only roughly' }];
    if (isAnswered) doubts.push(roundTripDoubt(seen.flight));
    // A capture that began right before has not seen how much waits in the send buffer.
    const seenNs = this.#stopMarkNs - seen.startNs;
    if (seen.isJoined && !postcopy && !isMultifd && seenNs < SETTLED_NS) {
      earliestNs = Math.min(earliestNs, seen.startNs);
      doubts.push({ ns: Math.max(seenNs, ITERATION_NS), why: 'the capture began shortly before' });
    }
    if (!isAnswered && !postcopy && seen.isCutOff)
      doubts.push({ ns: Number.POSITIVE_INFINITY, why: 'the capture ends before the stream does' });
    if (isLastPartUnseen)
      doubts.push({ ns: this.#stopMarkNs - earliestNs, why: 'the last memory section before it was not seen to end' });
    // What could not be read hides sections, by which the send buffer is measured.
    if (!seen.isMainRead && !postcopy && !isMultifd)
      doubts.push({ ns: this.#stopMarkNs - earliestNs, why: 'part of the stream before it could not be read' });
    let silent = '';
    const silenceNs = resumedNs - silentNs;
    if (isPaused) silent = '; a disk was mirrored until right before that mark, in a pause at the switch-over';
    else if (!postcopy && silenceNs >= ITERATION_NS) {
      silent = `; nothing was sent for ${Math.round(silenceNs / 1e6)} ms: a pause at the switch-over, or a busy source that stopped the guest only behind it`;
      doubts.push({ ns: silenceNs, why: 'the guest may have run meanwhile' });
    }
    const still = postcopy ? '' : this.#stillness(seen.isUnrepeated);
    if (still !== '') {
      doubts.push({ ns: earliestNs - seen.startNs, why: 'the guest may have stood still all along' });
      earliestNs = seen.startNs;
    }
    const stateNs = postcopy ? postcopy.switchNs : seen.endMarkNs;
    const estimateNs = endNs - startNs;
    const { confidence, uncertain } = confidenceOf(estimateNs, doubts);
    return {
      earliestStartNs: earliestNs,
      latestStartNs: this.#stopMarkNs,
      endNs,
      earliestEndNs: stateNs <= endNs ? stateNs : this.#stopMarkNs,
      latestEndNs: null,
      estimateNs,
      confidence,
      method: `${mark} to ${until}${paused}${silent}${still}${uncertain}`,
    };
  }

  /**
   * When the guest stopped, as the main channel beside those of multifd tells. Nothing holds it up, so the end of a
   * section is on the wire as soon as all its pages were written, and behind the last one the source stops the guest at
   * once; END waits until the pages of the final pass were written, too. A source that keeps to a rate limit sleeps
   * behind every section, and a busy one may find out late that little is left: channels that were silent although
   * nothing of the section was outstanding, or as often before, went on when the guest had stopped. Where the path may
   * have silenced them as well, the middle is the best guess. In a pause the guest has stopped before it. What the main
   * channel sends waits behind the others' pages where they share a queue, which its timestamps show.
   */
  #multifdStop(isPaused: boolean): Stop {
    const stopNs = this.#stopMarkNs - this.#stopLagNs;
    const stopMark = this.#stopMark + lateness(this.#stopLagNs);
    if (!(this.#partEndNs <= this.#stopMarkNs)) return { tNs: stopNs, doubtNs: 0, mark: stopMark };
    const finalNs = this.#stopMarkNs - this.#partEndNs;
    const isHeld = this.#heldNs >= DELAYED_ACK_NS && this.#heldNs < LATE_ACK_NS;
    const heldNs = isHeld ? this.#heldNs : 0;
    const mark = `end of the last memory section${lateness(this.#partLagNs)}`;
    if (isPaused || !this.#sleptBehindPart)
      return { tNs: this.#partEndNs - this.#partLagNs, doubtNs: Math.max(heldNs, finalNs / 2), mark };
    const resumedNs = Math.min(this.#resumedNs, stopNs);
    const silenceNs = resumedNs - this.#silence[0];
    const isIdle = this.#resumedLevel || this.#pacedParts >= PACED_PARTS;
    const resumed = resumedNs === stopNs ? stopMark : 'first memory behind the last section';
    return isIdle
      ? { tNs: resumedNs, doubtNs: silenceNs, mark: resumed }
      : { tNs: resumedNs - silenceNs / 2, doubtNs: silenceNs / 2, mark: 'silence behind the last memory section' };
  }

  /**
   * A clause for a guest that was not running, or may not have been: one that was paused before sends no page twice, like one
   * that is idle. The state that the source stored when it stopped the guest tells them apart (QEMU system/globalstate.c),
   * unless the migration itself had stopped it before (mode cpr-reboot).
   */
  #stillness(isUnrepeated: boolean): string {
    const state = this.#runState;
    if (state !== null && state !== 'running') return '; the guest was not running when the migration began';
    if (!isUnrepeated || (state !== null && !this.#isRebootable)) return '';
    return '; no page was sent twice: the guest was idle, or stopped before the migration began';
  }

  /**
   * When multifd channels sent the last memory while the guest ran, and when what shows that it had stopped. They are silent
   * from the end of a section on, as a rule. But threads that wait for a processor send what it left them long after it, and
   * no iterating source is silent for that long.
   */
  get #silence(): readonly [number, number] {
    const untilNs = this.#resumedNs < this.#stopMarkNs ? this.#resumedNs : this.#stopMarkNs;
    const isLong = untilNs - this.#partEndNs >= ITERATION_NS;
    return [isLong && this.#quietNs > this.#partEndNs ? this.#quietNs : this.#partEndNs, untilNs];
  }

  #partEnds(tNs: number): void {
    if (!Number.isNaN(this.#resumedNs)) this.#pacedParts = this.#sleptBehindPart ? this.#pacedParts + 1 : 0;
    this.#partEndNs = tNs;
    this.#resumedNs = Number.NaN;
  }

  /** When the newest byte on any multifd channel came, and on that of `lane` the newest before what is being read. */
  #newestNs(lane: number | null): number {
    let newestNs = Number.NaN;
    this.#clocks.forEach((clock, of) => {
      const ns = of === lane ? clock.beforeNs : clock.newestNs;
      if (!(ns <= newestNs)) newestNs = ns;
    });
    return newestNs;
  }

  /** The multifd channels were silent behind the newest RAM PART for as long as a source sleeps that keeps to a limit. */
  get #sleptBehindPart(): boolean {
    const silenceNs = this.#resumedNs - this.#silence[0];
    return silenceNs > PACING_NS && silenceNs < ITERATION_NS;
  }
}

/** What a method says of a mark that was captured `lagNs` after it was sent. */
const lateness = (lagNs: number): string =>
  lagNs < 1e6 ? '' : `, ${Math.round(lagNs / 1e6)} ms before it was captured,`;
