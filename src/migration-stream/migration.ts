// One migration: the records of all its channels → rounds, phases, downtime, devices, figures.
//
// A state machine fed by records; it knows no bytes and no connections (session.ts decides which streams feed it).
// Time runs through phases: setup → precopy → stop-and-copy → device-state → handover, or, with post-copy,
// setup → precopy → stop-and-copy → device-state (the package) → postcopy → handover.
import type { AnomalyLog } from '../anomaly.js';
import type { StreamEnd } from '../decode/stream.js';
import { EVENT_ROWS, STREAM_RECORDS } from '../limits.js';
import { WIDE_ZERO } from '../wide-zero.js';
import { contradictions, type Finished, missingChannels, PacketNumbers } from './contradictions.js';
import { Generations, MAIN_LANE } from './generations.js';
import { fullPages, type Mark, roundsFromMarks, untilSwitch } from './inferred-rounds.js';
import { BULKY_FEATURES, featureOf } from './iterables.js';
import { LostPages } from './lost-pages.js';
import { PageRequests } from './page-requests.js';
import { PageHistory } from './pages.js';
import { Phases } from './phases.js';
import {
  type Command,
  type Configuration,
  type Description,
  type MigrationSink,
  PAGE_COMPRESSED,
  PAGE_NORMAL,
  PAGE_XBZRLE,
  PAGE_ZERO,
  type PageKind,
  type RamBlock,
  type RecordPlace,
  type ReturnPathMessage,
  type Section,
  type SectionEnd,
  type StreamClock,
  UNKNOWN_BLOCK,
} from './records.js';
import type { Device, Downtime, Migration, MigrationSnapshot, PageCounts, Phase, Quantiles, Round } from './results.js';
import { BLIND_CONFIDENCE, BLOCK_STRIDE, bytesBefore, Rounds, totalPages } from './rounds.js';
import type { Flight } from './send-buffer.js';
import { type Lags, NO_LAGS } from './send-lag.js';
import { Sightings } from './sightings.js';
import { SwitchOver } from './switch-over.js';

/** PING values that the source puts last into the post-copy package; QEMU migration/migration.c, postcopy_start(). */
const PACKAGE_PINGS: ReadonlySet<number | null> = new Set([3, 0x42]);

/** What a migration's channels amount to; session.ts adds who and where. */
export interface MigrationFigures {
  readonly machineType: string | null;
  readonly pageSize: number | null;
  readonly features: string[];
  readonly ramBlocks: RamBlock[];
  readonly pages: Migration['pages'];
  readonly ramRecordBytes: number;
  readonly lostPages?: { atLeast: number; atMost: number } | null;
  readonly deviceStateBytes: number;
  readonly rounds: Round[];
  readonly phases: Phase[];
  readonly downtime: Downtime | null;
  readonly devices: Device[];
  readonly postcopy: {
    startNs: number;
    endNs: number;
    requests: number;
    pages: number;
    pagesUnderway: number | null;
    requestLatencyNs: Quantiles | null;
  } | null;
  readonly returnPath: Record<string, number>;
}

export class MigrationState implements MigrationSink {
  readonly history = new PageHistory();
  readonly rounds: Rounds;
  /** Keeps the lanes of a multifd migration in step; null without multifd. */
  #generations: Generations | null = null;
  /** The end mark was read. */
  complete = false;
  /** Error flag of the destination's SHUT; null before it. */
  shut: number | null = null;
  readonly #log: AnomalyLog;
  readonly #direction: number;
  readonly #startNs: number;
  readonly #features = new Set<string>();
  #machineType: string | null = null;
  #pageSize: number | null = null;
  #blocks: RamBlock[] = [];
  readonly #blockNumbers = new Map<string, number>();
  readonly #pages: PageCounts = { normal: 0, zero: 0, xbzrle: 0, compressed: 0 };
  /** Pages of a RAM block that is not known. */
  #unplaced = 0;
  #ramRecordBytes = WIDE_ZERO;
  readonly #devices: Device[] = [];
  readonly #phases: Phases;
  #latestNs = WIDE_ZERO;
  #latestOffset = WIDE_ZERO;
  /** Where the last page record begins, and where it ends by its header. */
  #pageStart = WIDE_ZERO;
  #pageEnd = WIDE_ZERO;
  /** UUID by channel number. */
  readonly #multifdChannels = new Map<number, string>();
  /** What can be seen where records cannot be read one after the other. */
  sightings = new Sightings();
  #memoryBytes: number | null = null;
  /** The RAM section's start, or where it may lie at the earliest; null before. */
  #ramStart: { readonly offset: number; readonly tNs: number } | null = null;
  #undecodedBytes = 0;
  readonly #lost = new LostPages();
  // Round boundaries as the main channel of a multifd migration shows them by itself.
  readonly #marks: Mark[] = [];
  #multifdBlindBytes = 0;
  /** The round that was open when the first of them were lost. */
  #multifdGapRound = 0;
  readonly #packets = new PacketNumbers();
  #sectionNs = WIDE_ZERO;
  // Switchover.
  readonly #switchOver: SwitchOver;
  #lastPageNs = Number.NaN;
  #endMarkNs = Number.NaN;
  /** When SHUT was seen; NaN before it. */
  shutNs = Number.NaN;
  #streamEndNs = Number.NaN;
  /** The stream ended with the capture. */
  #isCutOff = false;
  // Return path.
  readonly #replies: Record<string, number> = {};
  /** Pings less pongs, by value. */
  readonly #pings = new Map<number, number>();
  // Post-copy.
  /** The switch to post-copy is known from the return path alone. */
  #runUnseen = false;
  #postcopyNs = Number.NaN;
  #postcopyPages = 0;
  #packagePongNs = Number.NaN;
  readonly requests = new PageRequests();

  /**
   * @param direction  direction id of the main channel, for the anomaly log
   * @param startNs    when the migration's first connection began
   * @param lags       how late frames were captured
   */
  constructor(log: AnomalyLog, direction: number, startNs: number, lags: Lags = NO_LAGS) {
    this.rounds = new Rounds(this.history);
    this.#startNs = startNs;
    this.#log = log;
    this.#direction = direction;
    this.#phases = new Phases(startNs);
    this.#switchOver = new SwitchOver(lags);
  }

  /** Names of the RAM blocks known so far. */
  get blockNames(): ReadonlySet<string> {
    return new Set(this.#blockNumbers.keys());
  }

  get knownPageSize(): number | null {
    return this.#pageSize;
  }

  /** The switch to post-copy has happened. */
  get inPostcopy(): boolean {
    return !Number.isNaN(this.#postcopyNs);
  }

  /** It was allowed to switch to post-copy, and part of the stream, where it may have done so, could not be read. */
  get mayBeInPostcopy(): boolean {
    return this.inPostcopy || (this.#features.has('postcopy-advised') && this.#undecodedBytes > 0);
  }

  runState(state: string, isRebootable: boolean): void {
    this.#switchOver.runState(state, isRebootable);
  }

  feature(name: string): void {
    this.#features.add(name);
  }

  configuration(configuration: Configuration): void {
    this.#machineType = configuration.machineType;
    for (const capability of configuration.capabilities) this.feature(capability);
  }

  pageSize(bytes: number): void {
    this.#pageSize = bytes;
    this.history.pageSize = bytes;
  }

  blocks(blocks: readonly RamBlock[]): void {
    this.#blocks = [...blocks];
    this.#blockNumbers.clear();
    for (const [number, block] of blocks.entries()) this.#blockNumbers.set(block.name, number);
    this.history.size(blocks.reduce((sum, block) => sum + block.lengthBytes, 0));
  }

  block(name: string): number {
    const known = this.#blockNumbers.get(name);
    if (known !== undefined) return known;
    const number = this.#blockNumbers.size;
    this.#blockNumbers.set(name, number);
    return number;
  }

  page(offset: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    this.#latestNs = tNs;
    this.#latestOffset = offset + bytes;
    this.#pageStart = offset;
    this.#pageEnd = offset + bytes;
    this.#switchOver.left(offset, tNs);
    // Where next to nothing can be read, what can must do for an estimate.
    if (2 * this.#undecodedBytes > offset) this.sighting(offset, tNs, block, address, kind);
    this.countPage(tNs, block, address, kind, bytes);
    if (this.#generations) this.#generations.page(MAIN_LANE, tNs, block, address, kind, bytes);
    else this.rounds.page(tNs, block, address, kind, bytes);
    if (this.#lost.isOpen) this.#boundLost(offset, block, address);
  }

  /** A page record on another channel than the main one. */
  sidePage(tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    this.#phases.beside(bytes);
    this.countPage(tNs, block, address, kind, bytes);
    this.rounds.page(tNs, block, address, kind, bytes);
  }

  /** The last page of such a channel was cut off: `missingBytes` of it never came. */
  sidePageCut(missingBytes: number): void {
    this.#pageCut(missingBytes);
    this.#phases.beside(-missingBytes);
  }

  /**
   * A multifd channel joins, `late` when it is in the middle of its stream, `clock` that of its bytes where known; returns its
   * lane for the calls below.
   */
  joinMultifd(late: boolean, clock?: StreamClock): number {
    this.feature('multifd');
    this.#generations ??= new Generations(this.rounds);
    const lane = this.#generations.join(late);
    if (clock) this.#switchOver.join(lane, clock);
    return lane;
  }

  /** A multifd channel has presented itself. */
  multifdHello(channel: number, uuid: string): void {
    const other = this.#multifdChannels.values().next().value;
    if (other !== undefined && other !== uuid) this.#contradiction(`multifd channel ${channel} of another VM`);
    if (this.#multifdChannels.has(channel)) this.#contradiction(`two multifd channels ${channel}`);
    this.#multifdChannels.set(channel, uuid);
  }

  multifdPage(lane: number, tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    if (this.#switchOver.isBehindPart) this.#switchOver.resumes(lane, tNs, this.#generations!.isLevel);
    // The header of the first section leaves with its end.
    if (this.#phases.current === 'setup') this.#phases.enter('precopy', tNs, this.#latestOffset);
    this.#phases.beside(bytes);
    this.countPage(tNs, block, address, kind, bytes);
    this.#generations!.page(lane, tNs, block, address, kind, bytes);
  }

  multifdSync(lane: number): void {
    this.#generations!.mark(lane);
  }

  /** Bytes of a multifd channel that could not be read, the last of them seen at `tNs`. */
  multifdBlind(bytes: number, tNs: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    if (this.#multifdBlindBytes === 0) this.#multifdGapRound = this.rounds.count;
    this.#multifdBlindBytes += bytes;
    this.rounds.blind(bytes);
  }

  /**
   * Whether connections to the same port, of `bytes` together, are multifd channels. The main channel marks where they are flushed,
   * or has no contents of pages. Urgent pages have a channel, too, but only in post-copy; where that may have begun before the
   * capture and the end does not tell, what carries more than the main channel is no such one.
   */
  hasMultifdBeside(bytes: number): boolean {
    if (this.#generations || this.#features.has('multifd-flush')) return true;
    const { normal, xbzrle, compressed } = this.#pages;
    if (normal + xbzrle + compressed > 0 || this.mayBeInPostcopy) return false;
    return this.#switchOver.isStopped || this.complete || this.sightings.endsInText || bytes > this.#latestOffset;
  }

  /** The main channel, of which nothing could be read but that it sent `bytes`, the last of them at `tNs`. */
  mainPresumed(bytes: number, tNs: number): void {
    this.streamStart(0);
    this.blind(0, bytes, tNs);
    this.streamEnd(bytes, tNs);
  }

  /** A multifd channel of which nothing could be read but that it sent `bytes`, the last of them at `tNs`. */
  multifdPresumed(bytes: number, tNs: number): void {
    this.feature('channel-roles-inferred');
    const lane = this.joinMultifd(true);
    this.multifdBlind(bytes, tNs);
    this.multifdEnd(lane, 0);
  }

  /** A multifd channel is over; its last packet announced `missingBytes` more than came. */
  multifdEnd(lane: number, missingBytes: number): void {
    this.#generations!.end(lane);
    this.#pageCut(missingBytes);
  }

  packet(number: number): void {
    this.#packets.add(number);
  }

  hello(): void {}
  sealed(): void {}
  diskExport(): void {}
  diskRequest(): void {}

  deviceState({ tNs }: RecordPlace, name: string, instance: number, bytes: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    this.#phases.beside(bytes);
    const known = this.#devices.findLast((device) => device.name === name && device.instance === instance);
    if (known) {
      known.bytes += bytes;
      known.endNs = tNs;
    } else if (this.#devices.length < STREAM_RECORDS) {
      this.#devices.push({ name, instance, version: 0, bytes, startNs: tNs, endNs: tNs });
    }
  }

  /** Everything about a page except its round. */
  countPage(tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    const pages = this.#pages;
    if (kind === PAGE_NORMAL) pages.normal++;
    else if (kind === PAGE_XBZRLE) pages.xbzrle++;
    else if (kind === PAGE_COMPRESSED) pages.compressed++;
    else pages.zero++;
    if (block === UNKNOWN_BLOCK) this.#unplaced++;
    this.#ramRecordBytes += bytes;
    this.#lastPageNs = tNs;
    if (this.#postcopyNs <= tNs) {
      this.#postcopyPages++;
      if (this.requests.isWaiting) this.requests.answer(tNs, block, address);
    }
  }

  flush(_offset: number, _tNs: number): void {
    this.feature('multifd-flush');
    const inStart = this.#sectionNs === 0;
    this.#generations?.flush(inStart);
    // The scan came around the end of memory in this section: a sync came before it.
    if (!inStart && this.#sectionNs !== this.#marks.at(-1)?.startNs) this.#mark(this.#sectionNs, 'flush-mark');
  }

  sectionStart(section: Section): void {
    this.#at(section);
    this.#switchOver.section(section, totalPages(this.#pages));
    if (section.name === 'ram' && (section.kind === 'part' || section.kind === 'end')) {
      const kind = section.kind === 'end' && this.inPostcopy ? 'part' : section.kind;
      if (kind === 'part') this.#switchOver.part(section, totalPages(this.#pages));
      this.#sectionNs = section.tNs;
      if (this.#marks.length === 0) this.#mark(section.tNs, 'first-pass');
      else if (kind === 'end') this.#mark(section.tNs, 'section-end');
      if (this.#generations) this.#generations.section(section.tNs, kind);
      else this.rounds.section(section.tNs, kind);
    } else if (section.kind !== 'full' && section.name !== '') {
      this.feature(featureOf(section.name));
    }
    const phase = this.#phases.current;
    if (section.kind === 'part' && phase === 'setup') this.#phases.enter('precopy', section.tNs, section.offset);
    if (section.kind === 'end' && !this.inPostcopy) this.#stops(section, 'END section');
    if (section.kind === 'full' && (phase === 'precopy' || phase === 'stop-and-copy')) {
      this.#phases.enter('device-state', section.tNs, section.offset);
    }
    if (section.kind === 'full' && this.#postcopyNs <= section.tNs && !section.packaged) {
      this.#invariant(section, `device section '${section.name}' after the switch to post-copy`);
    }
  }

  sectionEnd(section: Section, end: SectionEnd): void {
    this.#at(end);
    if (section.name === 'ram') {
      if (this.#generations) this.#generations.endSection();
      else if (section.kind !== 'start') this.rounds.endSection(this.#latestNs);
      if (section.kind === 'part') this.#switchOver.partEnd(end);
    }
    if (section.kind !== 'full') return;
    if (this.#devices.length === STREAM_RECORDS) {
      this.#log.note('stream/limit', { ...this.#location(end), detail: 'device sections' });
      return;
    }
    this.#devices.push({
      name: section.name,
      instance: section.instance,
      version: section.version,
      bytes: end.length,
      startNs: section.tNs,
      endNs: end.tNs,
    });
  }

  command(command: Command): void {
    this.#at(command);
    switch (command.name) {
      case 'open-return-path':
        this.feature('return-path');
        break;
      case 'ping':
        this.#pings.set(command.value!, (this.#pings.get(command.value!) ?? 0) + 1);
        break;
      case 'postcopy-advise':
        this.feature('postcopy-advised');
        break;
      case 'switchover-start':
        this.feature('switchover-start');
        this.#stops(command, 'SWITCHOVER_START');
        break;
      case 'postcopy-ram-discard':
        this.#stops(command, 'first DISCARD');
        break;
      case 'packaged':
        this.#stops(command, 'PACKAGED');
        if (!this.inPostcopy) this.#phases.enter('device-state', command.tNs, command.offset);
        break;
      case 'postcopy-run':
        if (!this.inPostcopy) this.#enterPostcopy(command.tNs, command.offset);
        this.#runUnseen = false;
        break;
      case 'recv-bitmap':
        // A source asks for that when it recovers: the switch itself was out of sight.
        if (!this.inPostcopy) {
          this.#phases.leave(command.tNs, this.#latestOffset);
          this.#enterPostcopy(command.tNs, command.offset);
        }
        break;
      case 'enable-colo':
        this.feature('colo');
        break;
    }
  }

  endMark(place: RecordPlace): void {
    this.#at(place);
    this.complete = true;
    this.#endMarkNs = place.tNs;
    this.#phases.enter('handover', place.tNs, place.offset);
  }

  description(description: Description): void {
    this.#at(description);
    this.#latestOffset = description.offset + description.length;
    this.#pageSize ??= description.pageSize;
  }

  reply(message: ReturnPathMessage): void {
    this.#replies[message.name] = (this.#replies[message.name] ?? 0) + 1;
    this.feature('return-path');
    if (message.name === 'shut') {
      if (this.shut !== null) this.#invariant(message, 'a second SHUT on the return path');
      this.shut = message.value;
      this.shutNs = message.tNs;
    } else if (this.shut !== null) {
      this.#invariant(message, `'${message.name}' on the return path after SHUT`);
    }
    if (message.name === 'pong') {
      this.#pings.set(message.value!, (this.#pings.get(message.value!) ?? 0) - 1);
      if (PACKAGE_PINGS.has(message.value)) {
        this.#packagePongNs = message.tNs;
        this.#switchedOver(message);
      }
    }
    if (message.request) {
      const { block, start, length } = message.request;
      this.#switchedOver(message);
      this.requests.ask(message.tNs, this.block(block), start, length);
    }
  }

  memory(totalBytes: number): void {
    this.#memoryBytes = totalBytes;
    this.#ramStart = { offset: this.#latestOffset, tNs: this.#latestNs };
  }

  sighting(offset: number, tNs: number, block: number, address: number, kind: PageKind, seen = this.sightings): void {
    // Zero pages are dense where small blocks lie, and which block they belong to cannot be seen: they would mislead.
    if (kind !== PAGE_ZERO) seen.add(offset, tNs, block, Math.floor(address / this.history.pageSize));
  }

  glimpse(offset: number, tNs: number, text: boolean | null): void {
    this.sightings.glimpse(offset, tNs, text);
  }

  blind(offset: number, resumed: number, tNs: number): void {
    if (this.complete) {
      // What follows the last element, such as the checkpoints of COLO, hides nothing of the migration.
      this.#latestNs = Math.max(this.#latestNs, tNs);
      return;
    }
    this.#undecodedBytes += resumed - offset;
    const isBehindMemory = this.#phases.current === 'device-state' && !this.#features.has('postcopy-advised');
    this.#lost.gap(resumed - offset, this.rounds.position, isBehindMemory);
    const lastNs = Math.max(this.#latestNs, this.#startNs);
    if (this.#memoryBytes === null) this.#ramStart ??= { offset, tNs: lastNs };
    // What is hidden right behind the header is START and the first sections.
    if (this.#marks.length === 0) this.#mark(lastNs, 'first-pass');
    this.#latestOffset = Math.max(this.#latestOffset, resumed);
    this.#latestNs = Math.max(this.#latestNs, tNs);
    this.rounds.blind(resumed - offset);
  }

  streamStart(offset: number): void {
    if (this.#phases.current === 'setup') this.#phases.streamStart(offset);
  }

  streamEnd(offset: number, tNs: number, cause?: StreamEnd, frame?: number): void {
    this.#streamEndNs = tNs;
    this.#isCutOff = cause === 'capture-end';
    if (cause === 'fin' && frame !== undefined) this.#switchOver.closed(frame);
    this.#generations?.end(MAIN_LANE);
    // The last page may be cut off. (After a recovery streams share this.)
    if (this.#pageStart < offset && offset < this.#pageEnd) {
      this.#pageCut(this.#pageEnd - offset);
      this.#pageEnd = 0;
    }
    this.#latestOffset = offset;
  }

  /** The figures so far; see MigrationSnapshot. */
  snapshot(): Pick<
    MigrationSnapshot,
    'phase' | 'startNs' | 'lastDataNs' | 'pageSize' | 'ramPages' | 'pages' | 'round' | 'rounds'
  > {
    const pageSize = this.#pageSize;
    const ramBytes = this.#blocks.reduce((sum, block) => sum + block.lengthBytes, 0);
    const { round, rounds } = this.rounds.snapshot();
    return {
      phase: this.#phases.current,
      startNs: this.#startNs,
      lastDataNs: this.#latestNs,
      pageSize,
      ramPages: pageSize !== null && ramBytes > 0 ? ramBytes / pageSize : null,
      pages: { ...this.#pages },
      round: round && { ...round, swept: this.#swept(round, ramBytes) },
      rounds,
    };
  }

  /**
   * Everything, once all streams have ended.
   *
   * @param flight        of the main connection; null where that is not known
   * @param mirrorEndsNs  when disks that are copied between the same hosts were last asked for anything
   * @param overNs        when the last frame of its connections came: a stream whose end waited for what was lost ends later
   */
  finish(
    flight: Flight | null = null,
    mirrorEndsNs: readonly number[] = [],
    overNs = Number.POSITIVE_INFINITY,
  ): MigrationFigures {
    this.#streamEndNs = Math.min(this.#streamEndNs, overNs);
    if (this.#streamEndNs > this.#latestNs) this.#latestNs = this.#streamEndNs;
    this.#generations?.finish();
    const missing = missingChannels(this.#finished);
    if (missing !== null) {
      this.feature('multifd');
      this.#log.note('stream/channel-missing', { direction: this.#direction, tNs: this.#latestNs, detail: missing });
    }
    const isPartial = missing !== null;
    const inferred = this.#inferredRounds();
    // Marks with nothing but zero pages between them bound rounds whose size is not known; a page that was seen has its round.
    const seen = this.#pages.normal + this.#pages.xbzrle + this.#pages.compressed;
    const rounds = inferred ?? (isPartial && !this.#generations && seen === 0 ? [] : this.#sureRounds(!isPartial));
    // It lasts as long as its last round, of which a multifd channel may bring the end.
    this.#latestNs = Math.max(this.#latestNs, rounds.at(-1)?.endNs ?? 0);
    for (const detail of contradictions(this.#finished)) this.#contradiction(detail);
    const endNs = Number.isNaN(this.shutNs) ? this.#latestNs : Math.max(this.shutNs, this.#latestNs);
    this.#phases.leave(endNs, this.#latestOffset);
    const counted = this.#pages;
    if (counted.xbzrle > 0) this.feature('xbzrle');
    if (counted.compressed > 0) this.feature('compress');
    const zero = isPartial && counted.zero === 0 ? null : counted.zero;
    const copies = isPartial ? { distinct: null, resent: null } : this.#copies();
    const pages = inferred ? fullPages(inferred, this.history.pageSize) : { ...counted, zero, ...copies };
    if (inferred && this.inPostcopy) this.#postcopyPages = inferred.at(-1)!.pages.normal;
    if (this.history.untracked > 0) {
      this.#log.note('stream/limit', { direction: this.#direction, detail: 'pages without history' });
    }
    return {
      machineType: this.#machineType,
      pageSize: this.#pageSize,
      features: [...this.#features].sort(),
      ramBlocks: this.#blocks,
      pages,
      // Channels beside each other share the pages.
      lostPages: inferred || this.#generations ? null : this.#lost.total,
      ramRecordBytes: Math.round(this.#ramRecordBytes),
      deviceStateBytes: this.#devices.reduce((sum, device) => sum + device.bytes, 0),
      rounds,
      phases: this.#phases.finished,
      downtime: this.#downtime(flight, mirrorEndsNs, isPartial),
      devices: this.#devices,
      postcopy: this.#postcopy(),
      returnPath: this.#replies,
    };
  }

  get #finished(): Finished {
    const { complete, shut } = this;
    return {
      isComplete: complete,
      shut,
      isMainRead: this.#undecodedBytes === 0,
      isRead: this.#undecodedBytes + this.#multifdBlindBytes === 0,
      hasMain: this.#latestOffset > 0,
      hasRamStart: this.#memoryBytes !== null,
      hasMultifd: this.#generations !== null,
      marks: this.#generations?.marks ?? null,
      marksFlushes: this.#features.has('multifd-flush'),
      packets: this.#packets,
      pages: this.#pages,
      unansweredRequests: this.requests.waiting - this.requests.underway(this.rounds),
      pings: this.#pings,
      isRunUnseen: this.#runUnseen,
    };
  }

  /** Pages whose block was named out of sight may be the same as those of a block named since. */
  #copies(): Pick<Migration['pages'], 'distinct' | 'resent'> {
    if (this.#unplaced > 0 && this.#blockNumbers.size > 0) return { distinct: null, resent: null };
    const { distinct, untracked } = this.history;
    return { distinct, resent: totalPages(this.#pages) - untracked - distinct };
  }

  /** What did not come was counted with the page's header. */
  #pageCut(missingBytes: number): void {
    this.#ramRecordBytes -= missingBytes;
    this.rounds.pageCut(missingBytes);
  }

  #boundLost(offset: number, block: number, address: number): void {
    const isOrdered = this.#pages.compressed === 0;
    const position = block === UNKNOWN_BLOCK ? null : block * BLOCK_STRIDE + address;
    const pages = this.#lost.bound(position, this.#blocks, this.history.pageSize, isOrdered);
    if (!pages) return;
    this.#log.note('stream/pages-lost', {
      direction: this.#direction,
      streamOffset: offset,
      tNs: this.#latestNs,
      detail: `${pages.atLeast} to ${pages.atMost} pages`,
    });
  }

  /** Share of memory that the pass at hand has walked over; null where its place is not known. */
  #swept({ index, pages }: { index: number; pages: number }, ramBytes: number): number | null {
    if (ramBytes === 0) return null;
    const scan = this.rounds.scan;
    if (!scan) {
      // Channels side by side have no one place, but the first pass sends every page once.
      const isFirst = this.#generations !== null && index === 1 && this.#multifdBlindBytes + this.#undecodedBytes === 0;
      return isFirst ? Math.min(1, (pages * this.history.pageSize) / ramBytes) : null;
    }
    const walked = bytesBefore(scan.at, this.#blocks) - bytesBefore(scan.from, this.#blocks);
    if (scan.cameAround) return Math.min(1, (walked + ramBytes) / ramBytes);
    return walked < 0 ? null : Math.min(1, walked / ramBytes);
  }

  /** The rounds as pages show them. Channels that lost marks in a gap are out of step from there on: no boundary is sure. */
  #sureRounds(hasAllChannels: boolean): Round[] {
    // Device state follows the last round.
    const { current } = this.#phases;
    const isLastWhole = this.complete || this.shut === 0 || current === 'device-state' || current === 'handover';
    const rounds = this.rounds.finish({ isLastWhole, hasAllChannels });
    if (this.#multifdBlindBytes === 0 || this.#generations?.inStep) return rounds;
    rounds.forEach((round, at) => {
      if (at + 1 >= this.#multifdGapRound) round.dirtyPagesPerSecond = null;
      if (at >= this.#multifdGapRound) round.confidence = Math.min(round.confidence, BLIND_CONFIDENCE);
    });
    return rounds;
  }

  /** Rounds from what little is visible, where most of the pages could not be read; null where they could. */
  #inferredRounds(): Round[] | null {
    if (this.#generations) {
      if (this.#multifdBlindBytes < this.#ramRecordBytes || this.#marks.length === 0) return null;
      this.feature('rounds-inferred');
      const endNs = Math.max(this.#latestNs, this.#marks.at(-1)!.startNs);
      return roundsFromMarks(this.#marks, endNs, this.#multifdBlindBytes);
    }
    const { pageSize } = this.history;
    // Compressed pages have no one length: what was lost of them cannot be counted by bytes.
    if (this.#undecodedBytes < this.#latestOffset / 2 || this.#pages.compressed > 0) return null;
    if (BULKY_FEATURES.some((name) => this.#features.has(name))) return null;
    const end = { offset: this.#latestOffset, tNs: this.#latestNs };
    const totalPages = this.#memoryBytes === null ? null : Math.floor(this.#memoryBytes / pageSize);
    const complete = this.complete || this.sightings.endsInText || this.shut === 0;
    const fromStart = !this.rounds.isJoined;
    const start = this.#ramStart ?? { offset: 0, tNs: this.#startNs };
    const seen = this.sightings.rounds({ pageSize, totalPages, start, end, fromStart, complete });
    if (seen.length === 0) return null;
    const rounds = this.inPostcopy ? untilSwitch(seen, this.#postcopyNs) : seen;
    this.feature('rounds-inferred');
    // When the guest stopped, these rounds do not tell: the last one may be several that could not be told apart.
    if (this.#phases.current === 'setup') this.#phases.enter('precopy', start.tNs, start.offset);
    return rounds;
  }

  #postcopy(): MigrationFigures['postcopy'] {
    if (Number.isNaN(this.#postcopyNs)) return null;
    return {
      startNs: this.#postcopyNs,
      endNs: Number.isNaN(this.#endMarkNs) ? this.#latestNs : this.#endMarkNs,
      requests: this.requests.count,
      pages: this.#postcopyPages,
      pagesUnderway: this.requests.underway(this.rounds),
      requestLatencyNs: this.requests.latencyNs,
    };
  }

  #downtime(flight: Flight | null, mirrorEndsNs: readonly number[], isPartial: boolean): Downtime | null {
    const postcopy = { switchNs: this.#postcopyNs, pongNs: this.#packagePongNs };
    const isRead = this.#undecodedBytes + this.#multifdBlindBytes === 0;
    return this.#switchOver.downtime({
      startNs: this.#startNs,
      endMarkNs: this.#endMarkNs,
      shutNs: this.shutNs,
      lastNs: Number.isNaN(this.#streamEndNs) ? this.#latestNs : this.#streamEndNs,
      postcopy: this.inPostcopy ? postcopy : null,
      isMultifd: this.#generations !== null || isPartial,
      hasReturnPath: this.#features.has('return-path'),
      isCutOff: this.#isCutOff && !this.complete,
      isJoined: this.rounds.isJoined,
      isMainRead: this.#undecodedBytes === 0,
      isUnrepeated: isRead && !isPartial && this.#copies().resent === 0,
      flight,
      mirrorEndsNs,
    });
  }

  #mark(startNs: number, of: Mark['boundary']): void {
    const boundary = of === 'first-pass' && this.rounds.isJoined ? 'joined-midway' : of;
    // Lanes may be stamped later than the main channel: a round begins no sooner than the one before it.
    const earliestNs = this.#marks.at(-1)?.startNs ?? Number.NEGATIVE_INFINITY;
    if (this.#marks.length < EVENT_ROWS) this.#marks.push({ startNs: Math.max(startNs, earliestNs), boundary });
  }

  /** The guest has stopped by now: the first such mark counts. */
  #stops(place: RecordPlace, mark: string): void {
    if (!this.#switchOver.stop(place, mark, this.#lastPageNs)) return;
    this.#generations?.stopped(place.tNs);
    // An answer may be captured before what it answers.
    if (!this.inPostcopy) this.#phases.enter('stop-and-copy', place.tNs, place.offset);
  }

  /** The destination speaks as it does in post-copy only: if that was not seen to begin, the stream could not be read there. */
  #switchedOver(message: ReturnPathMessage): void {
    if (this.inPostcopy) return;
    this.#runUnseen = true;
    this.#enterPostcopy(message.tNs, Math.max(this.#latestOffset, this.sightings.latestOffset));
  }

  /** From byte `offset` of the main channel on the guest runs at the destination. */
  #enterPostcopy(tNs: number, offset: number): void {
    this.feature('postcopy');
    this.#postcopyNs = tNs;
    this.#latestNs = Math.max(this.#latestNs, tNs); // the return path may know later than the stream
    this.rounds.mark(tNs, 'post-copy');
    // Of a stream that cannot be read, not even the first section was seen.
    if (this.#phases.current === 'setup' && this.#ramStart)
      this.#phases.enter('precopy', this.#ramStart.tNs, this.#ramStart.offset);
    this.#phases.enter('postcopy', tNs, offset);
  }

  #at(place: RecordPlace): void {
    this.#latestNs = Math.max(this.#latestNs, place.tNs);
    this.#latestOffset = Math.max(this.#latestOffset, place.offset);
  }

  #location(place: RecordPlace): { direction: number; streamOffset: number; tNs: number; frame: number } {
    return { direction: this.#direction, streamOffset: place.offset, tNs: place.tNs, frame: place.frame };
  }

  /** As #invariant, for what lies in no one place. */
  #contradiction(detail: string): void {
    this.#log.note('stream/invariant', { direction: this.#direction, tNs: this.#latestNs, detail });
  }

  #invariant(place: RecordPlace, detail: string): void {
    this.#log.note('stream/invariant', { ...this.#location(place), detail });
  }
}
