// A migration inside TLS, as far as record lengths tell; sealed-records.ts says what they show of one channel.
//
// Normal pages are exact. Zero pages are estimated, or hide in packet headers. Addresses are not visible, so:
//   one channel   the first pass ends with the last zero page that a later page follows, the last round begins with the
//                 last section before the device state; what lies between is one stretch, however many rounds it was
//   multifd       every channel sends a SYNC for each flush mark on the main channel, so pages between two SYNCs are known
//                 on every channel. A scan passes the end of memory once on its way and once more when it finds nothing
//                 left: the first pass has one mark, each later one two. Before 8.1 every section has a SYNC instead, and
//                 the zero pages on the main channel show in which one the first pass ended.
// Which connection plays which part is told by what it carries: a multifd channel presents itself in 64 bytes and sends
// packets; the main channel is the one that is answered, or carries most of the rest; what else there is beside it can
// only be the preempt channel.
import type { AnomalyLog } from '../anomaly.js';
import { SEALED_CHANNELS, SEALED_OPENINGS, SEALED_SYNCS } from '../limits.js';
import { confidenceOf, type Doubt, isMirrorPause, roundTripDoubt } from './downtime.js';
import { type MigrationFigures, MigrationState } from './migration.js';
import type { ChannelKind, Downtime, Phase, Round } from './results.js';
import {
  DEVICE_STATE_BYTES,
  type Mark,
  MULTIFD_HEADER_BYTES,
  PAGE_BYTES,
  SealedChannel,
  type SectionMark,
  WHOLE_RECORD_BYTES,
  WORD_BYTES,
  ZERO_PAGE_BYTES,
} from './sealed-records.js';
import { type Flight, SendBuffer } from './send-buffer.js';
import { type Lags, NO_LAGS } from './send-lag.js';

/** What protection adds to a record: TLS 1.3, TLS 1.2 with AES-GCM, TLS 1.2 with ChaCha20, TLS 1.3 with short tags. */
const PROTECTION_BYTES = [17, 24, 16, 9] as const;
/** Lengths that by themselves tell what protection adds. */
const TELLING_BYTES = [PAGE_BYTES, MULTIFD_HEADER_BYTES, WHOLE_RECORD_BYTES] as const;
/** As many pages make a migration. */
const PROOF_PAGES = 16;
/** Fewer pages after the last zero page, as a share of those before, are the rest of the first pass. */
const MIDDLE_SHARE = 0.02;
/** Confidence in a boundary: as many SYNCs as flush marks on a channel at least; and less than that. */
const COUNTED_CONFIDENCE = 0.7;
const CONFIDENCE = 0.5;

/** Return-path messages by length: SHUT and PONG; REQ_PAGES; REQ_PAGES_ID with the longest block name. */
const SHORT_REPLY_BYTES = 8;
const REQUEST_BYTES = 16;
const LONGEST_REQUEST_BYTES = 17 + 255;

/**
 * A destination that resumes post-copy tells which pages it has, a bit each, before the source sends any (QEMU migration/ram.c,
 * ramblock_recv_bitmap_send): as much for 128 MiB. Before that it has only pongs and session tickets to send.
 */
const BITMAP_BYTES = 4096;

/** The part a connection plays, told by what it carries. */
export interface SealedRole {
  readonly kind: ChannelKind;
  /** Multifd channels in the order in which they were opened. */
  readonly index: number | null;
  /** 0 … 1. */
  readonly confidence: number;
}

/** A record that waits until the protection is known. */
interface Opening {
  readonly direction: number;
  readonly frame: number;
  readonly tNs: number;
  readonly length: number;
  readonly reverse: boolean;
}

export class SealedMigration extends MigrationState {
  readonly #startNs: number;
  readonly #lags: Lags;
  #protection = Number.NaN;
  /** By direction, in the order in which they were opened. */
  readonly #channels = new Map<number, SealedChannel>();
  /** First records of all channels, while it is not known what protection adds. */
  #openings: Opening[] = [];
  #latestNs = 0;
  #pages = 0;
  #bytes = 0;
  /** The buffers of all channels taken as one. */
  readonly #sendBuffer = new SendBuffer();
  /** What had been sent when the post-copy package began. */
  #package: SectionMark | null = null;
  /** The newest short answer, the first page request, and the last short answer between package and first request. */
  #replyNs = Number.NaN;
  #requestNs = Number.NaN;
  #packageReplyNs = Number.NaN;
  /** It goes on with a post-copy that was interrupted on other connections. */
  #isResumed = false;
  #unreadBytes = 0;
  #unreadNs = Number.NEGATIVE_INFINITY;

  constructor(log: AnomalyLog, direction: number, startNs: number, lags: Lags = NO_LAGS) {
    super(log, direction, startNs, lags);
    this.#startNs = startNs;
    this.#lags = lags;
    this.feature('tls');
  }

  /** Enough records look like pages. */
  get proven(): boolean {
    return this.#pages >= PROOF_PAGES && this.#all.some((channel) => channel.proven);
  }

  override get mayBeInPostcopy(): boolean {
    return this.#package !== null || this.#isResumed;
  }

  /** One protected record from the source on channel `direction`, beginning in `frame`, `length` bytes without its header. */
  record(direction: number, frame: number, tNs: number, length: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    if (Number.isNaN(this.#protection)) {
      const extra = PROTECTION_BYTES.find((bytes) => TELLING_BYTES.some((telling) => length === telling + bytes));
      if (extra === undefined) {
        this.#wait({ direction, frame, tNs, length, reverse: false });
        return;
      }
      this.#protection = extra;
      for (const { reverse, ...opening } of this.#openings)
        this[reverse ? 'reverseRecord' : 'record'](opening.direction, opening.frame, opening.tNs, opening.length);
      this.#openings = [];
    }
    this.#read(direction, frame, tNs, length - this.#protection);
  }

  /** One protected record from the destination, an answer on channel `direction` (the source's). */
  reverseRecord(direction: number, frame: number, tNs: number, length: number): void {
    if (Number.isNaN(this.#protection)) {
      this.#wait({ direction, frame, tNs, length, reverse: true });
      return;
    }
    const contents = length - this.#protection;
    const short = contents === SHORT_REPLY_BYTES;
    if (this.#pages === 0 && this.#bytes > 0 && contents >= BITMAP_BYTES) this.#isResumed = true;
    // Small blocks have small bitmaps; it asks for pages once it has said that it is ready.
    const asks = this.#package !== null || (this.#isResumed && !Number.isNaN(this.#replyNs));
    const request = asks && contents >= REQUEST_BYTES && contents <= LONGEST_REQUEST_BYTES;
    if (!short && !request) return;
    const { replies } = this.#channel(direction);
    replies.bytes += contents;
    if (request) {
      replies.requests++;
      if (Number.isNaN(this.#requestNs)) this.#requestNs = tNs;
      return;
    }
    replies.short++;
    this.#replyNs = tNs;
    if (this.#package && Number.isNaN(this.#requestNs)) this.#packageReplyNs = tNs;
  }

  /** `bytes` of a channel, the newest of them from `tNs`, are missing or are no records. */
  unread(bytes: number, tNs: number): void {
    this.#unreadBytes += bytes;
    if (tNs > this.#unreadNs) this.#unreadNs = tNs;
  }

  /** The capture does not hold the end of channel `direction`. */
  breaksOff(direction: number): void {
    this.#channel(direction).isOpen = true;
  }

  /** What each channel is; those of which nothing shows are left out. */
  get roles(): ReadonlyMap<number, SealedRole> {
    const roles = new Map<number, SealedRole>();
    const main = this.#main;
    let multifd = 0;
    for (const [direction, channel] of this.#channels) {
      if (channel.multifd) {
        const confidence = channel.packets.packets > 0 ? 0.95 : 0.7;
        roles.set(direction, { kind: 'multifd', index: multifd++, confidence });
      } else if (channel === main) {
        const answered = channel.replies.short + channel.replies.requests > 0;
        roles.set(direction, { kind: 'main', index: null, confidence: answered || this.#singles === 1 ? 0.9 : 0.6 });
      } else if (this.mayBeInPostcopy || channel.pages === 0) {
        // A channel that says nothing may as well be somebody who only looks whether the port is open.
        const confidence = channel.pages > 0 ? 0.9 : this.mayBeInPostcopy ? 0.7 : 0.5;
        roles.set(direction, { kind: 'preempt', index: null, confidence });
      }
    }
    return roles;
  }

  /** Bytes of the return path's messages. */
  get replyBytes(): number {
    return this.#all.reduce((sum, { replies }) => sum + replies.bytes, 0);
  }

  override snapshot(): ReturnType<MigrationState['snapshot']> {
    const snapshot = super.snapshot();
    const pages = { normal: this.#pages, zero: this.#zero ?? 0, xbzrle: 0, compressed: 0 };
    return { ...snapshot, lastDataNs: this.#latestNs, pageSize: this.proven ? PAGE_BYTES : null, pages };
  }

  override finish(flight: Flight | null = null, mirrorEndsNs: readonly number[] = []): MigrationFigures {
    for (const { packets } of this.#lanes) packets.finish();
    this.complete = this.#isComplete;
    if (this.#lanes.length > 0) this.feature('multifd');
    const compressed = this.#lanes.some(({ packets }) => packets.compressed);
    if (compressed) this.feature('multifd-compression');
    if (this.mayBeInPostcopy) this.feature('postcopy');
    if (this.#isResumed) this.feature('postcopy-resumed');
    const roles = [...this.roles.values()];
    if (roles.some(({ kind, confidence }) => kind === 'preempt' && confidence > 0.5)) this.feature('preempt');
    if (roles.length > 1) this.feature('channel-roles-inferred');
    this.feature('pages-from-record-lengths');
    const zero = this.#zero;
    const normal = this.#normal;
    // How many pages compressed packets hold is a guess, how long they are with their headers is not.
    const ramRecordBytes = compressed
      ? this.#lanes.reduce((total, { bytes }) => total + bytes, 0)
      : normal * (PAGE_BYTES + WORD_BYTES) + (zero ?? 0) * ZERO_PAGE_BYTES;
    const replies = this.#all.map((channel) => channel.replies);
    const sum = (of: 'short' | 'requests'): number => replies.reduce((total, reply) => total + reply[of], 0);
    const counted = { 'short-message': sum('short'), 'page-request': sum('requests') };
    return {
      machineType: null,
      pageSize: this.proven ? PAGE_BYTES : null,
      features: super.finish().features,
      ramBlocks: [],
      lostPages: this.#unreadBytes > 0 ? { atLeast: 0, atMost: Math.floor(this.#unreadBytes / ZERO_PAGE_BYTES) } : null,
      pages: { normal, zero, xbzrle: 0, compressed: 0, distinct: null, resent: null },
      ramRecordBytes,
      deviceStateBytes: this.complete && !this.#isResumed ? this.#tail.bytes : 0,
      rounds: this.#rounds(),
      phases: this.#phases(),
      downtime: this.#downtime(flight, mirrorEndsNs),
      devices: [],
      postcopy: this.#postcopy(),
      returnPath: Object.fromEntries(Object.entries(counted).filter(([, count]) => count > 0)),
    };
  }

  get #all(): SealedChannel[] {
    return [...this.#channels.values()];
  }

  /** Multifd channels that carry packets. */
  get #lanes(): SealedChannel[] {
    return this.#all.filter(({ multifd, packets }) => multifd && packets.packets > 0);
  }

  get #singles(): number {
    return this.#all.filter(({ multifd }) => !multifd).length;
  }

  /** The channel that is answered, or else the one with most bytes, among those that are not multifd's. */
  get #main(): SealedChannel | null {
    const weight = ({ replies, bytes }: SealedChannel): number => (replies.bytes > 0 ? 2 ** 52 : 0) + bytes;
    const singles = this.#all.filter(({ multifd }) => !multifd);
    return singles.reduce<SealedChannel | null>((a, b) => (a && weight(a) >= weight(b) ? a : b), null);
  }

  /** Beside multifd channels only a post-copy has pages on others; what looks like one there otherwise is none. */
  get #normal(): number {
    const channels = this.#lanes.length > 0 && !this.#package ? this.#lanes : this.#all;
    return channels.reduce((sum, { pages }) => sum + pages, 0);
  }

  /** With multifd only the older dialects show zero pages, on the main channel. */
  get #zero(): number | null {
    const main = this.#main;
    if (this.#lanes.length === 0) return main ? main.reading.zero : null;
    return main && main.words.zero > 0 ? main.words.zero : null;
  }

  /** What the main channel sent after its last page: device state, when the migration came to it. */
  get #tail(): { readonly bytes: number; readonly tNs: number } {
    const main = this.#main;
    if (!main) return { bytes: 0, tNs: Number.NaN };
    return this.#lanes.length > 0 ? main.words.tail : main.reading.tail;
  }

  get #lastPageNs(): number {
    const times = this.#all.map(({ multifd, packets, reading }) => (multifd ? packets : reading).lastPageNs);
    return Math.max(...times.filter((tNs) => !Number.isNaN(tNs)));
  }

  get #firstPageNs(): number {
    const times = this.#all.map(({ multifd, packets, reading }) => (multifd ? packets : reading).firstPageNs);
    return Math.min(...times.filter((tNs) => !Number.isNaN(tNs)));
  }

  /** Device state follows the pages; after post-copy there is none, but an answer is. */
  get #isComplete(): boolean {
    if (!this.proven) return false;
    if (this.mayBeInPostcopy) return this.#replyNs > this.#lastPageNs;
    // Where the capture breaks off, zero pages look like it, too, unless an answer follows.
    const { bytes, tNs } = this.#tail;
    return bytes >= DEVICE_STATE_BYTES && (this.#main?.isOpen !== true || this.#replyNs > tNs);
  }

  #wait(opening: Opening): void {
    if (this.#openings.length < SEALED_OPENINGS) this.#openings.push(opening);
  }

  #read(direction: number, frame: number, tNs: number, contents: number): void {
    const channel = this.#channel(direction);
    const before = channel.pages;
    channel.record(frame, tNs, contents);
    this.#pages += channel.pages - before;
    this.#bytes += contents;
    this.#sendBuffer.left(this.#bytes, tNs);
    if (!this.#package && !Number.isNaN(channel.packageNs)) {
      const earliestNs = this.#sendBuffer.earliestNs(this.#bytes, tNs);
      this.#package = { tNs, pages: this.#pages, zero: 0, bytes: this.#bytes, earliestNs, pageNs: this.#lastPageNs };
    }
  }

  #channel(direction: number): SealedChannel {
    let channel = this.#channels.get(direction);
    if (!channel) {
      channel = new SealedChannel(this.rounds.isJoined, this.#lags.of);
      if (this.#channels.size < SEALED_CHANNELS) this.#channels.set(direction, channel);
    }
    return channel;
  }

  #rounds(): Round[] {
    if (!this.proven) return [];
    const passes = this.#lanes.length > 0 ? this.#multifdPasses() : this.#passes();
    return passes.map(({ from, to, boundary, confidence }, i): Round => {
      const seconds = (to.tNs - from.tNs) / 1e9;
      const bytes = Math.max(0, to.bytes - from.bytes);
      return {
        index: i + 1,
        startNs: from.tNs,
        endNs: Math.max(from.tNs, to.tNs),
        pages: { normal: to.pages - from.pages, zero: to.zero - from.zero, xbzrle: 0, compressed: 0 },
        bytes,
        goodput: seconds > 0 ? bytes / seconds : 0,
        dirtyPagesPerSecond: null,
        boundary,
        confidence,
      };
    });
  }

  /** Passes of a migration whose pages all go over one channel, and the rest of a post-copy. */
  #passes(): Pass[] {
    const main = this.#main!;
    const { reading } = main;
    const end: Mark = {
      tNs: this.#lastPageNs,
      pages: this.#normal,
      zero: reading.zero ?? 0,
      bytes: main.bytes - (this.#package ? 0 : this.#tail.bytes),
    };
    const start = { tNs: this.#firstPageNs, pages: 0, zero: 0, bytes: 0 };
    if (this.#isResumed) return [{ from: start, to: end, boundary: 'post-copy', confidence: CONFIDENCE }];
    const marks: { readonly mark: Mark; readonly boundary: string }[] = [{ mark: start, boundary: 'first-pass' }];
    const final = this.complete && !this.#package ? reading.finalSection : null;
    const passEnd = this.#package ? null : reading.firstPassEnd;
    const between = (final?.pages ?? end.pages) - (passEnd?.pages ?? 0);
    if (passEnd && between > MIDDLE_SHARE * passEnd.pages) marks.push({ mark: passEnd, boundary: INFERRED });
    if (final) marks.push({ mark: final, boundary: INFERRED });
    // Zero pages go on after the switch, and their count at that moment is not known: they stay with the passes.
    if (this.#package) marks.push({ mark: { ...this.#package, zero: end.zero }, boundary: 'post-copy' });
    return marks.map(({ mark, boundary }, i) => ({
      from: mark,
      to: marks[i + 1]?.mark ?? end,
      boundary,
      confidence: CONFIDENCE,
    }));
  }

  /** Passes between SYNCs that all multifd channels have in common. */
  #multifdPasses(): Pass[] {
    const lanes = this.#lanes.map(({ packets }) => packets);
    const { flushes, sections, zeroSection } = this.#main?.words ?? { flushes: 0, sections: 0, zeroSection: 0 };
    // Boundaries as SYNCs from the newest one on, oldest first.
    const backs: number[] = [];
    if (flushes > 2) for (let flush = 2; flush < flushes; flush += 2) backs.push(flushes - flush);
    else if (this.complete) backs.push(...(zeroSection > 0 ? [sections - zeroSection] : []), 1);
    const known = backs.filter((back) => back < SEALED_SYNCS && lanes.every(({ bare }) => bare > back));
    // Where a packet without pages was no SYNC, it held zero pages: those belong to the first pass.
    const exact = flushes > 2 && lanes.some(({ bare }) => bare === flushes);
    const marks = known.map((back) =>
      together(
        lanes.map((lane) => lane.bareMark(back)),
        median, // idle channels send theirs before the last pages of the pass, full ones a buffer later
      ),
    );
    const first: Mark = { tNs: this.#firstPageNs, pages: 0, zero: 0, bytes: 0 };
    const end = together(
      lanes.map((lane) => lane.end),
      Math.max,
    );
    const passes: Pass[] = [];
    let from = first;
    for (const to of [...marks, end]) {
      if (to.pages === from.pages) continue;
      const boundary = passes.length === 0 ? 'first-pass' : flushes > 2 ? 'flush-mark' : INFERRED;
      const zero = passes.length === 0 ? (this.#zero ?? 0) : 0;
      const startNs = passes.at(-1)?.to.tNs ?? from.tNs;
      passes.push({
        from: { ...from, tNs: startNs, zero: 0 },
        to: { ...to, tNs: Math.max(startNs, to.tNs), zero },
        boundary,
        confidence: exact ? COUNTED_CONFIDENCE : CONFIDENCE,
      });
      from = to;
    }
    if (this.#package && passes.length > 0) {
      const sentNs = Math.max(this.#package.tNs, passes.at(-1)!.to.tNs);
      const sent = { ...this.#package, tNs: sentNs, pages: end.pages, bytes: end.bytes };
      const rest = { tNs: this.#lastPageNs, pages: this.#normal, zero: 0, bytes: end.bytes + (this.#main?.bytes ?? 0) };
      passes.push({ from: sent, to: rest, boundary: 'post-copy', confidence: CONFIDENCE });
    }
    return passes;
  }

  /** When the guest stopped: no sooner than, at the latest, and in all likelihood. */
  #stop(): {
    readonly earliestNs: number;
    readonly latestNs: number;
    readonly tNs: number;
    readonly mark: string;
  } | null {
    if (!this.complete || this.#isResumed) return null;
    if (this.#package) {
      const { tNs, earliestNs } = this.#package;
      return { earliestNs, latestNs: tNs, tNs, mark: 'post-copy package' };
    }
    const tail = this.#tail;
    if (this.#lanes.length > 0) {
      const { section } = this.#main!.words;
      if (Number.isNaN(section.beforeNs)) return null;
      const earliestNs = Math.min(section.beforeNs, this.#sendBuffer.earliestNs(this.#bytes, section.tNs));
      return { earliestNs, latestNs: tail.tNs, tNs: section.tNs, mark: 'last section' };
    }
    const final = this.#main!.reading.finalSection;
    if (!final) return null;
    const earliestNs = Math.min(final.tNs, final.earliestNs);
    return { earliestNs, latestNs: Math.max(tail.tNs, final.tNs), tNs: final.tNs, mark: 'last section with pages' };
  }

  #phases(): Phase[] {
    if (!this.proven) return [];
    const phases: Phase[] = [];
    let startNs = this.#startNs;
    const phase = (kind: Phase['kind'], untilNs: number, bytes: number): void => {
      const endNs = Math.max(startNs, untilNs);
      phases.push({ kind, startNs, endNs, bytes: Math.max(0, bytes) });
      startNs = endNs;
    };
    const stop = this.#stop();
    // The capture may end behind the destination's last message and before the source's closing.
    const endNs = Number.isNaN(this.#replyNs) ? this.#latestNs : Math.max(this.#latestNs, this.#replyNs);
    phase('setup', this.#firstPageNs, 0);
    if (this.#package) {
      const { tNs, bytes } = this.#package;
      phase('precopy', tNs, bytes);
      phase('postcopy', endNs, this.#bytes - bytes);
    } else if (this.#isResumed) {
      phase('postcopy', endNs, this.#bytes);
    } else if (stop) {
      const { bytes, tNs } = this.#tail;
      const left = Math.min(this.#rounds().at(-1)?.bytes ?? 0, this.#bytes - bytes);
      phase('precopy', stop.tNs, this.#bytes - bytes - left);
      phase('stop-and-copy', tNs, left);
      phase('device-state', endNs, bytes);
    } else {
      phase('precopy', this.#lastPageNs, this.#bytes);
    }
    return phases;
  }

  #downtime(flight: Flight | null, mirrorEndsNs: readonly number[]): Downtime | null {
    const stop = this.#stop();
    if (!stop) return null;
    const answeredNs = this.#package ? this.#packageReplyNs : this.#replyNs;
    if (this.#package && Number.isNaN(answeredNs)) return null;
    const answered = answeredNs > stop.latestNs;
    const endNs = answered ? answeredNs : this.#latestNs;
    const until = answered
      ? `last message of the destination${this.#package ? ' before it asked for pages' : ''}`
      : 'end of the stream';
    const doubts: Doubt[] = [];
    if (answered) doubts.push(roundTripDoubt(flight));
    let startNs = stop.tNs;
    let waited = '';
    if (this.#lanes.length > 0 || this.#package) {
      const ns = this.#package ? stop.tNs - stop.earliestNs : (stop.latestNs - stop.tNs) / 2;
      doubts.push({ ns, why: 'record lengths show only roughly when the guest stopped' });
    } else {
      // As with plain streams, without an answer both ends wait in the send buffer, and the wait cancels out.
      const { reading, sendBuffer } = this.#main!;
      const { bytes, tNs, pageNs } = reading.finalSection!;
      const isPaused = isMirrorPause(mirrorEndsNs, pageNs, tNs);
      const written = sendBuffer.written(bytes, tNs, flight, isPaused);
      if (answered) startNs = written.tNs;
      if (startNs < tNs)
        waited = isPaused ? ', less a pause for a mirrored disk,' : ', less the time in the send buffer,';
      doubts.push({ ns: written.doubtNs, why: 'how long it waited on its way out shows only roughly' });
      doubts.push({ ns: stop.latestNs - tNs, why: 'the guest may have stopped only behind that section' });
    }
    if (this.#unreadNs >= stop.earliestNs)
      doubts.push({ ns: this.#latestNs - this.#startNs, why: 'records around it could not be read' });
    const estimateNs = endNs - startNs;
    const { confidence, uncertain } = confidenceOf(estimateNs, doubts);
    return {
      earliestStartNs: Math.min(stop.earliestNs, startNs),
      latestStartNs: stop.latestNs,
      endNs,
      // The destination cannot start the guest before device state begins to come; that it all came does not show.
      earliestEndNs: Math.min(endNs, stop.latestNs),
      latestEndNs: null,
      estimateNs,
      confidence,
      method: `${stop.mark}${waited} to ${until}, inferred from TLS record lengths${uncertain}`,
    };
  }

  #postcopy(): MigrationFigures['postcopy'] {
    if (!this.mayBeInPostcopy) return null;
    const { tNs, pages } = this.#package ?? { tNs: this.#firstPageNs, pages: 0 };
    const requests = this.#all.reduce((sum, { replies }) => sum + replies.requests, 0);
    return {
      startNs: tNs,
      endNs: Math.max(this.#latestNs, tNs),
      requests,
      pages: Math.max(0, this.#normal - pages),
      pagesUnderway: null,
      requestLatencyNs: null,
    };
  }
}

/** A stretch of the stream between two boundaries. */
interface Pass {
  readonly from: Mark;
  readonly to: Mark;
  readonly boundary: string;
  readonly confidence: number;
}

const INFERRED = 'inferred-record-lengths';

const median = (...times: number[]): number => times.sort((a, b) => a - b)[times.length >> 1]!;

/** The same mark of several channels taken together. */
const together = (marks: readonly Mark[], time: (...times: number[]) => number): Mark => ({
  tNs: time(...marks.map(({ tNs }) => tNs).filter((tNs) => !Number.isNaN(tNs))),
  pages: marks.reduce((sum, { pages }) => sum + pages, 0),
  zero: 0,
  bytes: marks.reduce((sum, { bytes }) => sum + bytes, 0),
});
