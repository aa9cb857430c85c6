// One migration: the records of all its channels → rounds, phases, downtime, devices, figures.
//
// A state machine fed by records; it knows no bytes and no connections (session.ts decides which streams feed it).
// Time runs through phases: setup → precopy → stop-and-copy → device-state → handover, or, with post-copy,
// setup → precopy → stop-and-copy → device-state (the package) → postcopy → handover.
//
// Downtime. The guest stops after the last byte of the last PART left and before the switchover command or the END
// header did; it runs again shortly before the destination says SHUT (pre-copy), or right after it answered the last
// ping in the package (post-copy). Without a return path the end of the stream is all there is. Each is reported with
// its method. Source: QEMU migration/migration.c, migration_completion(), postcopy_start(), process_incoming_migration_bh().
import type { AnomalyLog } from '../anomaly.js';
import { TableBuilder } from '../columns.js';
import { EVENT_ROWS, PAGE_REQUESTS, STREAM_RECORDS } from '../limits.js';
import { confidenceOf, type Doubt, isMirrorPause } from './downtime.js';
import { Generations, MAIN_LANE } from './generations.js';
import { BULKY_FEATURES, featureOf } from './iterables.js';
import { PageHistory } from './pages.js';
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
import type {
  Device,
  Downtime,
  Migration,
  MigrationSnapshot,
  PageCounts,
  Phase,
  PhaseKind,
  Quantiles,
  Round,
} from './results.js';
import { BLIND_CONFIDENCE, BLOCK_STRIDE, Rounds, totalPages } from './rounds.js';
import { type Flight, ITERATION_NS, SendBuffer, type Written } from './send-buffer.js';
import { Sightings } from './sightings.js';

/** Section headers, footers and names that may lie among lost pages. */
const FRAMING_BYTES = 512;
/** The word before every page. */
const WORD_BYTES = 8;
/** Channels that are silent for longer were not held up by the path: the source sleeps out its 100 ms. */
const PACING_NS = 25e6;
/** The path may silence them once. */
const PACED_PARTS = 2;
/** Linux delays an acknowledgement by 40 ms and a tick; a small segment behind another one may wait for it (RFC 896). */
const DELAYED_ACK_NS = 38e6;
const LATE_ACK_NS = 50e6;
/** PING values that the source puts last into the post-copy package; QEMU migration/migration.c, postcopy_start(). */
const PACKAGE_PINGS: ReadonlySet<number | null> = new Set([3, 0x42]);

const REQUEST_UNITS = { tNs: 'ns', latencyNs: 'ns', bytes: 'bytes' } as const;

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

/** Where a round begins, as far as the main channel tells. */
interface Mark {
  readonly startNs: number;
  readonly boundary: 'first-pass' | 'flush-mark' | 'section-end';
}

interface OpenPhase {
  readonly kind: PhaseKind;
  readonly startNs: number;
  startOffset: number;
  /** Bytes of the other channels while it lasts. */
  otherBytes: number;
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
  /** What the guest did when it was stopped; null while not known. */
  #runState: string | null = null;
  #isRebootable = true;
  #pageSize: number | null = null;
  #blocks: RamBlock[] = [];
  readonly #blockNumbers = new Map<string, number>();
  readonly #pages: PageCounts = { normal: 0, zero: 0, xbzrle: 0, compressed: 0 };
  /** Pages of a RAM block that is not known. */
  #unplaced = 0;
  #ramRecordBytes = 0;
  readonly #devices: Device[] = [];
  readonly #phases: Phase[] = [];
  #phase: OpenPhase | null = null;
  #latestNs = 0;
  #latestOffset = 0;
  /** Where the last page record begins, and where it ends by its header. */
  #pageStart = 0;
  #pageEnd = 0;
  readonly #sendBuffer = new SendBuffer();
  /** UUID by channel number. */
  readonly #multifdChannels = new Map<number, string>();
  /** What can be seen where records cannot be read one after the other. */
  readonly sightings = new Sightings();
  #memoryBytes: number | null = null;
  /** The RAM section's start. */
  #ramStart = { offset: 0, tNs: 0 };
  #undecodedBytes = 0;
  /** Bytes just lost, and the scan position before them; null once the page behind them is known. */
  #gap: { bytes: number; readonly from: number } | null = null;
  #lostPages: { atLeast: number; atMost: number } | null = null;
  /** Lost bytes with no page on one side that would bound the pages in them. */
  #unboundBytes = 0;
  // Round boundaries as the main channel of a multifd migration shows them by itself.
  readonly #marks: Mark[] = [];
  #multifdBlindBytes = 0;
  /** The round that was open when the first of them were lost. */
  #multifdGapRound = 0;
  /** Multifd packets of pages, and the least and the largest of their numbers. */
  #packets = 0;
  #packetLeast = Number.POSITIVE_INFINITY;
  #packetMost = Number.NEGATIVE_INFINITY;
  #sectionNs = 0;
  // Switchover.
  #lastPageNs = Number.NaN;
  /** When the two newest RAM PART sections began; Infinity before. */
  #lastPartNs = Number.POSITIVE_INFINITY;
  #beforeLastPartNs = Number.POSITIVE_INFINITY;
  #lastPrecopyNs = Number.NaN;
  /** When the newest RAM PART was over, and when a multifd channel went on with pages behind it; NaN before. */
  #partEndNs = Number.NaN;
  #resumedNs = Number.NaN;
  /** When the newest byte on any of them was there before that. */
  #quietNs = Number.NaN;
  readonly #clocks: StreamClock[] = [];
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
  /** When the mark was written if the send buffer was as large as any. */
  #stopEarliestNs = Number.NaN;
  #endMarkNs = Number.NaN;
  /** When SHUT was seen; NaN before it. */
  shutNs = Number.NaN;
  #streamEndNs = Number.NaN;
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
  #requests = 0;
  readonly #waiting = new Map<number, number>();
  readonly #requestBytes: number[] = [];
  /** Requests whose page came; tNs is when it was asked for. */
  readonly requests = new TableBuilder(REQUEST_UNITS, EVENT_ROWS);

  /**
   * @param direction  direction id of the main channel, for the anomaly log
   * @param startNs    when the migration's first connection began
   */
  constructor(log: AnomalyLog, direction: number, startNs: number) {
    this.rounds = new Rounds(this.history);
    this.#startNs = startNs;
    this.#log = log;
    this.#direction = direction;
    this.#enter('setup', startNs, 0);
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
    this.#runState = state;
    this.#isRebootable = isRebootable;
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
    if (Number.isNaN(this.#stopMarkNs)) this.#sendBuffer.left(offset, tNs);
    // Where next to nothing can be read, what can must do for an estimate.
    if (2 * this.#undecodedBytes > offset) this.sighting(offset, tNs, block, address, kind);
    this.countPage(tNs, block, address, kind, bytes);
    if (this.#generations) this.#generations.page(MAIN_LANE, tNs, block, address, kind, bytes);
    else this.rounds.page(tNs, block, address, kind, bytes);
    if (this.#gap) this.#boundLost(offset, block, address);
  }

  /** A page record on another channel than the main one. */
  sidePage(tNs: number, block: number, address: number, kind: PageKind, bytes: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    if (this.#phase) this.#phase.otherBytes += bytes;
    this.countPage(tNs, block, address, kind, bytes);
    this.rounds.page(tNs, block, address, kind, bytes);
  }

  /** The last page of such a channel was cut off: `missingBytes` of it never came. */
  sidePageCut(missingBytes: number): void {
    this.#ramRecordBytes -= missingBytes;
    if (this.#phase) this.#phase.otherBytes = Math.max(0, this.#phase.otherBytes - missingBytes);
  }

  /**
   * A multifd channel joins, `late` when it is in the middle of its stream, `clock` that of its bytes where known; returns its
   * lane for the calls below.
   */
  joinMultifd(late: boolean, clock?: StreamClock): number {
    this.feature('multifd');
    this.#generations ??= new Generations(this.rounds);
    const lane = this.#generations.join(late);
    if (clock) this.#clocks[lane] = clock;
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
    if (Number.isNaN(this.#resumedNs)) {
      this.#resumedNs = tNs;
      if (Number.isNaN(this.#stopMarkNs)) this.#quietNs = this.#newestNs(lane);
      this.#resumedLevel = this.#generations!.isLevel;
    }
    // The header of the first section leaves with its end.
    if (this.#phase?.kind === 'setup') this.#enter('precopy', tNs, this.#latestOffset);
    if (this.#phase) this.#phase.otherBytes += bytes;
    this.countPage(tNs, block, address, kind, bytes);
    this.#generations!.page(lane, tNs, block, address, kind, bytes);
  }

  multifdSync(lane: number): void {
    this.#generations!.mark(lane);
  }

  /** Bytes of a multifd channel that could not be read. */
  multifdBlind(bytes: number): void {
    if (this.#multifdBlindBytes === 0) this.#multifdGapRound = this.rounds.count;
    this.#multifdBlindBytes += bytes;
    this.rounds.blind();
  }

  /** A multifd channel is over; its last packet announced `missingBytes` more than came. */
  multifdEnd(lane: number, missingBytes: number): void {
    this.#ramRecordBytes -= missingBytes;
    this.#generations!.end(lane);
  }

  packet(number: number): void {
    this.#packets++;
    if (number < this.#packetLeast) this.#packetLeast = number;
    if (number > this.#packetMost) this.#packetMost = number;
  }

  hello(): void {}
  sealed(): void {}
  diskExport(): void {}
  diskRequest(): void {}

  deviceState({ tNs }: RecordPlace, name: string, instance: number, bytes: number): void {
    this.#latestNs = Math.max(this.#latestNs, tNs);
    if (this.#phase) this.#phase.otherBytes += bytes;
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
      if (this.#waiting.size > 0) this.#answer(tNs, block, address);
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
    if (section.name !== 'ram') this.#sendBuffer.sectionEnds(section.offset, section.tNs, totalPages(this.#pages));
    if (section.name === 'ram' && (section.kind === 'part' || section.kind === 'end')) {
      const kind = section.kind === 'end' && this.inPostcopy ? 'part' : section.kind;
      if (kind === 'part' && Number.isNaN(this.#stopMarkNs)) {
        this.#partEnds(section.tNs); // its end may be lost
        this.#beforeLastPartNs = Math.min(this.#lastPartNs, section.tNs);
        this.#lastPartNs = section.tNs;
        this.#sendBuffer.section(section.offset, section.tNs, totalPages(this.#pages));
      }
      this.#sectionNs = section.tNs;
      if (this.#marks.length === 0) this.#mark(section.tNs, 'first-pass');
      else if (kind === 'end') this.#mark(section.tNs, 'section-end');
      if (this.#generations) this.#generations.section(section.tNs, kind);
      else this.rounds.section(section.tNs, kind);
    } else if (section.kind !== 'full' && section.name !== '') {
      this.feature(featureOf(section.name));
    }
    const phase = this.#phase?.kind;
    if (section.kind === 'part' && phase === 'setup') this.#enter('precopy', section.tNs, section.offset);
    if (section.kind === 'end') this.#stops(section, 'END section');
    if (section.kind === 'full' && (phase === 'precopy' || phase === 'stop-and-copy')) {
      this.#enter('device-state', section.tNs, section.offset);
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
      if (section.kind === 'part' && Number.isNaN(this.#stopMarkNs)) {
        const beforeNs = this.#footerNs < end.contentsNs ? this.#footerNs : this.#partEndNs;
        this.#heldNs = end.contentsNs - beforeNs;
        this.#footerNs = end.tNs;
        this.#partEnds(end.contentsNs);
      }
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
        this.#enter('device-state', command.tNs, command.offset);
        break;
      case 'postcopy-run':
        if (!this.inPostcopy) this.#switchOver(command);
        this.#runUnseen = false;
        this.#enter('postcopy', command.tNs, command.offset);
        break;
      case 'recv-bitmap':
        // A source asks for that when it recovers: the switch itself was out of sight.
        if (!this.inPostcopy) {
          this.#switchOver(command);
          this.#leave(command.tNs, this.#latestOffset);
          this.#enter('postcopy', command.tNs, command.offset);
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
    this.#enter('handover', place.tNs, place.offset);
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
      this.#requests++;
      this.#switchedOver(message);
      this.#ask(message.tNs, message.request);
    }
  }

  memory(totalBytes: number): void {
    this.#memoryBytes = totalBytes;
    this.#ramStart = { offset: this.#latestOffset, tNs: this.#latestNs };
  }

  sighting(offset: number, tNs: number, block: number, address: number, kind: PageKind): void {
    // Zero pages are dense where small blocks lie, and which block they belong to cannot be seen: they would mislead.
    if (kind !== PAGE_ZERO) this.sightings.add(offset, tNs, block, Math.floor(address / this.history.pageSize));
  }

  glimpse(offset: number, tNs: number, text: boolean): void {
    this.sightings.glimpse(offset, tNs, text);
  }

  blind(offset: number, resumed: number, tNs: number): void {
    if (this.complete) {
      // What follows the last element, such as the checkpoints of COLO, hides nothing of the migration.
      this.#latestNs = Math.max(this.#latestNs, tNs);
      return;
    }
    this.#undecodedBytes += resumed - offset;
    const isBehindMemory = this.#phase?.kind === 'device-state' && !this.#features.has('postcopy-advised');
    if (this.rounds.position !== null) this.#gap = { bytes: resumed - offset, from: this.rounds.position };
    else if (this.#gap) this.#gap.bytes += resumed - offset;
    else if (!isBehindMemory) this.#unboundBytes += resumed - offset;
    const lastNs = Math.max(this.#latestNs, this.#startNs);
    if (this.#memoryBytes === null && this.#ramStart.tNs === 0) this.#ramStart = { offset, tNs: lastNs };
    // What is hidden right behind the header is START and the first sections.
    if (this.#marks.length === 0) this.#mark(lastNs, 'first-pass');
    this.#latestOffset = Math.max(this.#latestOffset, resumed);
    this.#latestNs = Math.max(this.#latestNs, tNs);
    this.rounds.blind();
  }

  streamStart(offset: number): void {
    if (this.#phase?.kind === 'setup') this.#phase.startOffset = offset;
  }

  streamEnd(offset: number, tNs: number): void {
    this.#streamEndNs = tNs;
    this.#generations?.end(MAIN_LANE);
    // The last page may be cut off: what did not come was counted with its header. (After a recovery streams share this.)
    if (this.#pageStart < offset && offset < this.#pageEnd) {
      this.#ramRecordBytes -= this.#pageEnd - offset;
      this.#pageEnd = 0;
    }
    this.#latestOffset = offset;
    this.#latestNs = Math.max(this.#latestNs, tNs);
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
      phase: this.#phase?.kind ?? null,
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
   */
  finish(flight: Flight | null = null, mirrorEndsNs: readonly number[] = []): MigrationFigures {
    this.#checkMarks();
    this.#checkRequests();
    this.#checkReplies();
    this.#generations?.finish();
    const inferred = this.#inferredRounds();
    const rounds = inferred ?? this.#sureRounds();
    const endNs = Number.isNaN(this.shutNs) ? this.#latestNs : Math.max(this.shutNs, this.#latestNs);
    this.#leave(endNs, this.#latestOffset);
    const pages = this.#pages;
    if (pages.xbzrle > 0) this.feature('xbzrle');
    if (pages.compressed > 0) this.feature('compress');
    if (this.history.untracked > 0) {
      this.#log.note('stream/limit', { direction: this.#direction, detail: 'pages without history' });
    }
    return {
      machineType: this.#machineType,
      pageSize: this.#pageSize,
      features: [...this.#features].sort(),
      ramBlocks: this.#blocks,
      pages: inferred
        ? this.#inferredPages(inferred)
        : {
            ...pages,
            ...this.#copies(),
          },
      lostPages: inferred ? null : this.#allLost(),
      ramRecordBytes: Math.round(this.#ramRecordBytes),
      deviceStateBytes: this.#devices.reduce((sum, device) => sum + device.bytes, 0),
      rounds,
      phases: this.#phases,
      downtime: this.#downtime(flight, mirrorEndsNs),
      devices: this.#devices,
      postcopy: this.#postcopy(),
      returnPath: this.#replies,
    };
  }

  /** Pages whose block was named out of sight may be the same as those of a block named since. */
  #copies(): Pick<Migration['pages'], 'distinct' | 'resent'> {
    if (this.#unplaced > 0 && this.#blockNumbers.size > 0) return { distinct: null, resent: null };
    const { distinct, untracked } = this.history;
    return { distinct, resent: totalPages(this.#pages) - untracked - distinct };
  }

  /**
   * How many pages hide in the bytes just lost: not fewer than if all were full ones, and not more than lie between the
   * pages before and behind, for the scan passes every place once. Zero pages take nine bytes, so the bytes alone tell little.
   */
  #boundLost(offset: number, block: number, address: number): void {
    const { bytes, from } = this.#gap!;
    this.#gap = null;
    const ramBytes = this.#blocks.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0);
    if (block === UNKNOWN_BLOCK || ramBytes === 0) {
      this.#unboundBytes += bytes;
      return;
    }
    const { pageSize } = this.history;
    const walked = this.#before(block * BLOCK_STRIDE + address) - this.#before(from);
    let between = Math.max(0, (walked > 0 ? walked : walked + ramBytes) / pageSize - 1);
    // More than the pages between can fill: the scan came by more than once. Threads of the old compression do not keep its order.
    const full = (bytes - FRAMING_BYTES) / (WORD_BYTES + pageSize);
    if (full > between) between += Math.ceil(((full - between) * pageSize) / ramBytes) * (ramBytes / pageSize);
    if (this.#pages.compressed > 0) between = Number.POSITIVE_INFINITY;
    const atMost = Math.min(between, Math.floor(bytes / (WORD_BYTES + 1)));
    const atLeast = Math.min(atMost, Math.max(0, Math.ceil(full)));
    this.#lostPages ??= { atLeast: 0, atMost: 0 };
    this.#lostPages.atLeast += atLeast;
    this.#lostPages.atMost += atMost;
    this.#log.note('stream/pages-lost', {
      direction: this.#direction,
      streamOffset: offset,
      tNs: this.#latestNs,
      detail: `${atLeast} to ${atMost} pages`,
    });
  }

  /** Pages in all lost bytes; null where nothing is lost, or channels share the pages. */
  #allLost(): NonNullable<MigrationFigures['lostPages']> | null {
    if (this.#generations) return null;
    const hidden = Math.floor((this.#unboundBytes + (this.#gap?.bytes ?? 0)) / (WORD_BYTES + 1));
    if (hidden === 0) return this.#lostPages;
    return { atLeast: this.#lostPages?.atLeast ?? 0, atMost: (this.#lostPages?.atMost ?? 0) + hidden };
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
    const walked = this.#before(scan.at) - this.#before(scan.from);
    if (scan.cameAround) return Math.min(1, (walked + ramBytes) / ramBytes);
    return walked < 0 ? null : Math.min(1, walked / ramBytes);
  }

  /** Bytes of memory before a scan position, in the order of the block list, which is that of the scan. */
  #before(position: number): number {
    const block = Math.floor(position / BLOCK_STRIDE);
    let bytes = position - block * BLOCK_STRIDE;
    for (let i = 0; i < block; i++) bytes += this.#blocks[i]?.lengthBytes ?? 0;
    return bytes;
  }

  /** The rounds as pages show them. Channels that lost marks in a gap are out of step from there on: no boundary is sure. */
  #sureRounds(): Round[] {
    const rounds = this.rounds.finish();
    if (this.#multifdBlindBytes === 0 || this.#generations?.inStep) return rounds;
    for (const round of rounds.slice(this.#multifdGapRound))
      round.confidence = Math.min(round.confidence, BLIND_CONFIDENCE);
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
    const seen = this.sightings.rounds({ pageSize, totalPages, start: this.#ramStart, end, fromStart, complete });
    if (seen.length === 0) return null;
    const rounds = this.inPostcopy ? untilSwitch(seen, this.#postcopyNs) : seen;
    this.feature('rounds-inferred');
    if (this.#phase?.kind === 'setup') {
      this.#enter('precopy', this.#ramStart.tNs, this.#ramStart.offset);
      const last = rounds.at(-1)!;
      const lastPhase = this.inPostcopy ? 'postcopy' : 'stop-and-copy';
      if (complete && rounds.length > 1) this.#enter(lastPhase, last.startNs, end.offset - last.bytes);
    }
    return rounds;
  }

  /** Where most records could not be read: as many full pages as the rounds' bytes amount to; the rest is not known. */
  #inferredPages(rounds: readonly Round[]): MigrationFigures['pages'] {
    for (const { pages, bytes } of rounds) pages.normal ||= Math.round(bytes / (this.history.pageSize + WORD_BYTES));
    if (this.inPostcopy) this.#postcopyPages = rounds.at(-1)!.pages.normal;
    const normal = rounds.reduce((sum, { pages }) => sum + pages.normal, 0);
    return { normal, zero: null, xbzrle: 0, compressed: 0, distinct: null, resent: null };
  }

  #postcopy(): MigrationFigures['postcopy'] {
    if (Number.isNaN(this.#postcopyNs)) return null;
    return {
      startNs: this.#postcopyNs,
      endNs: Number.isNaN(this.#endMarkNs) ? this.#latestNs : this.#endMarkNs,
      requests: this.#requests,
      pages: this.#postcopyPages,
      pagesUnderway: this.#underway(),
      requestLatencyNs: quantiles(this.requests.finish().columns['latencyNs']!.values as Float64Array),
    };
  }

  #downtime(flight: Flight | null, mirrorEndsNs: readonly number[]): Downtime | null {
    if (Number.isNaN(this.#stopMarkNs)) return null;
    let endNs: number;
    let until: string;
    // The estimate is what QEMU calls downtime: from the stop to SHUT, or else to the last byte handed to the socket. In
    // the second case both ends wait in the send buffer and the delay cancels out.
    let startNs = this.#stopMarkNs;
    const [silentNs, resumedNs] = this.#silence;
    const isPaused = !this.inPostcopy && isMirrorPause(mirrorEndsNs, silentNs, resumedNs);
    const written = this.#generations
      ? this.#multifdStop(isPaused)
      : this.#sendBuffer.written(this.#stopOffset, this.#stopMarkNs, flight, isPaused);
    const writtenNs = written.tNs;
    if (this.inPostcopy) {
      const answered = !Number.isNaN(this.#packagePongNs);
      endNs = answered ? this.#packagePongNs : this.#postcopyNs;
      until = answered ? 'answer to the last ping in the package' : 'end of the package';
    } else if (!Number.isNaN(this.shutNs)) {
      startNs = writtenNs;
      endNs = this.shutNs;
      until = 'SHUT on the return path';
    } else {
      // The main channel beside those of multifd is not held up at either end; with a return path QEMU waits for SHUT,
      // which the capture does not hold.
      const isAnswered = this.#features.has('return-path');
      if (this.#generations || isAnswered) startNs = writtenNs;
      endNs = Number.isNaN(this.#streamEndNs) ? this.#latestNs : this.#streamEndNs;
      until = isAnswered ? 'end of the stream, for SHUT is not in the capture' : 'end of the stream';
    }
    if (endNs < this.#stopMarkNs) return null;
    // Beside multifd channels the main one's small segments wait for each other (RFC 896) and in the queues of the path, but
    // not for as long as a section takes.
    let earliestNs = Math.min(writtenNs, this.#generations ? this.#beforeLastPartNs : this.#stopEarliestNs);
    if (this.#lastPrecopyNs < earliestNs) earliestNs = this.#lastPrecopyNs;
    let mark = this.#stopMark;
    if (startNs < this.#stopMarkNs)
      mark = this.#generations ? 'end of the last memory section' : `${mark}, less the time in the send buffer,`;
    // What QEMU calls downtime leaves out what the guest waited for the send buffer; its pause does not.
    const waitedMs = Math.round((startNs - writtenNs) / 1e6);
    const paused = waitedMs > 0 ? `; the guest stopped about ${waitedMs} ms before that mark left the send buffer` : '';
    // Where both ends wait, an error cancels out, too. The package of a post-copy waits at one end only.
    let waitDoubtNs = startNs > writtenNs ? written.doubtNs / 2 : written.doubtNs;
    if (this.inPostcopy) waitDoubtNs = Math.max(written.doubtNs, startNs - writtenNs);
    const doubts: Doubt[] = [{ ns: waitDoubtNs, why: 'how long it waited on its way out shows only roughly' }];
    // What could not be read hides sections, by which the send buffer is measured.
    if (this.#undecodedBytes > 0 && !this.inPostcopy && !this.#generations)
      doubts.push({ ns: this.#stopMarkNs - earliestNs, why: 'part of the stream before it could not be read' });
    let silent = '';
    const silenceNs = resumedNs - silentNs;
    if (isPaused) silent = '; a disk was mirrored until right before that mark, in a pause at the switch-over';
    else if (!this.inPostcopy && silenceNs >= ITERATION_NS) {
      silent = `; nothing was sent for ${Math.round(silenceNs / 1e6)} ms: a pause at the switch-over, or a busy source that stopped the guest only behind it`;
      doubts.push({ ns: silenceNs, why: 'the guest may have run meanwhile' });
    }
    const still = this.inPostcopy ? '' : this.#stillness;
    if (still !== '') {
      doubts.push({ ns: earliestNs - this.#startNs, why: 'the guest may have stood still all along' });
      earliestNs = this.#startNs;
    }
    const stateNs = this.inPostcopy ? this.#postcopyNs : this.#endMarkNs;
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
   * have silenced them as well, the middle is the best guess. In a pause the guest has stopped before it.
   */
  #multifdStop(isPaused: boolean): Written {
    if (!(this.#partEndNs <= this.#stopMarkNs)) return { tNs: this.#stopMarkNs, doubtNs: 0 };
    const finalNs = this.#stopMarkNs - this.#partEndNs;
    const isHeld = this.#heldNs >= DELAYED_ACK_NS && this.#heldNs < LATE_ACK_NS;
    const heldNs = isHeld ? this.#heldNs : 0;
    if (isPaused || !this.#sleptBehindPart) return { tNs: this.#partEndNs, doubtNs: Math.max(heldNs, finalNs / 2) };
    const resumedNs = Math.min(this.#resumedNs, this.#stopMarkNs);
    const silenceNs = resumedNs - this.#silence[0];
    const isIdle = this.#resumedLevel || this.#pacedParts >= PACED_PARTS;
    return isIdle ? { tNs: resumedNs, doubtNs: silenceNs } : { tNs: resumedNs - silenceNs / 2, doubtNs: silenceNs / 2 };
  }

  /**
   * A clause for a guest that was not running, or may not have been: one that was paused before sends no page twice, like one
   * that is idle. The state that the source stored when it stopped the guest tells them apart (QEMU system/globalstate.c),
   * unless the migration itself had stopped it before (mode cpr-reboot).
   */
  get #stillness(): string {
    const state = this.#runState;
    if (state !== null && state !== 'running') return '; the guest was not running when the migration began';
    const isRead = this.#undecodedBytes + this.#multifdBlindBytes === 0;
    if (!isRead || this.#copies().resent !== 0 || (state !== null && !this.#isRebootable)) return '';
    return '; no page was sent twice: the guest was idle, or stopped before the migration began';
  }

  /**
   * When the last memory was sent while the guest ran, NaN where that is not known; and when what shows that it had stopped.
   * Multifd channels are silent from the end of a section on, as a rule. But threads that wait for a processor send what it
   * left them long after it, and no iterating source is silent for that long.
   */
  get #silence(): readonly [number, number] {
    if (!this.#generations) return [this.#lastPrecopyNs, this.#stopMarkNs];
    const untilNs = this.#resumedNs < this.#stopMarkNs ? this.#resumedNs : this.#stopMarkNs;
    const isLong = untilNs - this.#partEndNs >= ITERATION_NS;
    return [isLong && this.#quietNs > this.#partEndNs ? this.#quietNs : this.#partEndNs, untilNs];
  }

  #mark(startNs: number, boundary: Mark['boundary']): void {
    // Lanes may be stamped later than the main channel: a round begins no sooner than the one before it.
    const earliestNs = this.#marks.at(-1)?.startNs ?? Number.NEGATIVE_INFINITY;
    if (this.#marks.length < EVENT_ROWS) this.#marks.push({ startNs: Math.max(startNs, earliestNs), boundary });
  }

  #partEnds(tNs: number): void {
    if (!Number.isNaN(this.#resumedNs)) this.#pacedParts = this.#sleptBehindPart ? this.#pacedParts + 1 : 0;
    this.#partEndNs = tNs;
    this.#resumedNs = Number.NaN;
  }

  /** When the newest byte on any multifd channel came, on that of `lane` the newest before what is being read. */
  #newestNs(lane = MAIN_LANE): number {
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

  /** The guest has stopped by now: the first such mark counts. */
  #stops(place: RecordPlace, mark: string): void {
    if (!Number.isNaN(this.#stopMarkNs)) return;
    this.#stopMarkNs = place.tNs;
    this.#stopMark = mark;
    this.#stopOffset = place.offset;
    this.#stopEarliestNs = this.#sendBuffer.earliestNs(place.offset, place.tNs);
    this.#lastPrecopyNs = this.#lastPageNs;
    if (Number.isNaN(this.#resumedNs)) this.#quietNs = this.#newestNs();
    this.#generations?.stopped(place.tNs);
    this.#enter('stop-and-copy', place.tNs, place.offset);
  }

  /** The destination speaks as it does in post-copy only: if that was not seen to begin, the stream could not be read there. */
  #switchedOver(message: ReturnPathMessage): void {
    if (this.inPostcopy) return;
    this.#runUnseen = true;
    this.#switchOver(message);
  }

  /** From here on the guest runs at the destination. */
  #switchOver(place: RecordPlace): void {
    this.feature('postcopy');
    this.#postcopyNs = place.tNs;
    this.#latestNs = Math.max(this.#latestNs, place.tNs); // the return path may know later than the stream
    this.rounds.mark(place.tNs, 'post-copy');
  }

  #ask(tNs: number, request: { block: string; start: number; length: number }): void {
    const block = this.block(request.block);
    this.#requestBytes[block] = request.length;
    const key = block * BLOCK_STRIDE + request.start;
    if (this.#waiting.size < PAGE_REQUESTS && !this.#waiting.has(key)) this.#waiting.set(key, tNs);
  }

  /** Unanswered requests whose page had been sent since the switch: request and page crossed. */
  #underway(): number {
    let count = 0;
    for (const key of this.#waiting.keys()) {
      const block = Math.floor(key / BLOCK_STRIDE);
      if (this.rounds.inLatest(block, key - block * BLOCK_STRIDE)) count++;
    }
    return count;
  }

  #answer(tNs: number, block: number, address: number): void {
    if (block === UNKNOWN_BLOCK) return;
    const bytes = this.#requestBytes[block];
    if (!bytes) return;
    const key = block * BLOCK_STRIDE + address - (address % bytes);
    const askedNs = this.#waiting.get(key);
    if (askedNs === undefined) return;
    this.#waiting.delete(key);
    this.requests.add(askedNs, tNs - askedNs, bytes);
  }

  #at(place: RecordPlace): void {
    this.#latestNs = Math.max(this.#latestNs, place.tNs);
    this.#latestOffset = Math.max(this.#latestOffset, place.offset);
  }

  #enter(kind: PhaseKind, tNs: number, offset: number): void {
    if (this.#phase?.kind === kind) return;
    this.#leave(tNs, offset);
    this.#phase = { kind, startNs: tNs, startOffset: offset, otherBytes: 0 };
  }

  #leave(tNs: number, offset: number): void {
    if (!this.#phase) return;
    const { kind, startNs, startOffset, otherBytes } = this.#phase;
    const bytes = Math.max(0, offset - startOffset) + otherBytes;
    this.#phases.push({ kind, startNs, endNs: Math.max(startNs, tNs), bytes });
    this.#phase = null;
  }

  #location(place: RecordPlace): { direction: number; streamOffset: number; tNs: number; frame: number } {
    return { direction: this.#direction, streamOffset: place.offset, tNs: place.tNs, frame: place.frame };
  }

  /** Every SYNC goes to all multifd channels; the main channel has a mark for each, but for the last of 9.1 and 9.2. */
  #checkMarks(): void {
    const marks = this.complete && this.#multifdBlindBytes + this.#undecodedBytes === 0 && this.#generations?.marks;
    if (!marks || marks.length < 2) return;
    const [main = 0, ...syncs] = marks;
    const most = Math.max(...syncs);
    if (Math.min(...syncs) < most) this.#contradiction(`multifd channels passed ${syncs.join(', ')} SYNCs`);
    else if (main !== most && main + 1 !== most)
      this.#contradiction(`${main} marks on the main channel, ${most} SYNCs`);
    // Up to 8.2 channels may take a number twice and leave the next one out; the range is as long as the count either way.
    const numbers = this.#packetMost - this.#packetLeast + 1;
    if (numbers !== this.#packets) this.#contradiction(`${this.#packets} multifd packets in ${numbers} numbers`);
  }

  /** Whatever the destination asked for is sent, be it before the request arrived. */
  #checkRequests(): void {
    if (!this.complete || this.#multifdBlindBytes + this.#undecodedBytes > 0) return;
    const unanswered = this.#waiting.size - this.#underway();
    if (unanswered > 0) this.#contradiction(`${unanswered} pages were requested and not sent`);
  }

  /** A PONG answers a PING, and requests follow the switch, whichever of the two the capture shows first. */
  #checkReplies(): void {
    // Pings come before START: without it they may have been sent before the capture began.
    if (this.#memoryBytes === null || this.#undecodedBytes > 0) return;
    for (const [value, left] of this.#pings) if (left < 0) this.#contradiction(`PONG ${value} without PING`);
    if (this.#runUnseen) this.#contradiction('post-copy on the return path, but not on the stream');
    if (this.shut === 0 && !this.complete)
      this.#contradiction('the destination has all of it, but no end mark was found');
  }

  /** As #invariant, for what lies in no one place. */
  #contradiction(detail: string): void {
    this.#log.note('stream/invariant', { direction: this.#direction, tNs: this.#latestNs, detail });
  }

  #invariant(place: RecordPlace, detail: string): void {
    this.#log.note('stream/invariant', { ...this.#location(place), detail });
  }
}

/** Rounds between marks. Which bytes went over the other channels in each is not known: they are shared out by time. */
function roundsFromMarks(marks: readonly Mark[], endNs: number, bytes: number): Round[] {
  const wholeNs = Math.max(1, endNs - marks[0]!.startNs);
  return marks.map(({ startNs, boundary }, i) => {
    const until = marks[i + 1]?.startNs ?? endNs;
    const share = Math.round((bytes * (until - startNs)) / wholeNs);
    return {
      index: i + 1,
      startNs,
      endNs: until,
      pages: { normal: 0, zero: 0, xbzrle: 0, compressed: 0 },
      bytes: share,
      goodput: (bytes / wholeNs) * 1e9,
      dirtyPagesPerSecond: null,
      boundary,
      confidence: boundary === 'flush-mark' ? 0.6 : 0.9,
    };
  });
}

/** Rounds estimated from a whole stream, up to the switch: there are no syncs behind it. Bytes are shared out by time. */
function untilSwitch(rounds: readonly Round[], switchNs: number): Round[] {
  const before = rounds.filter(({ startNs }) => startNs < switchNs);
  const cut = before.at(-1);
  if (!cut) return [...rounds];
  const endNs = Math.max(switchNs, rounds.at(-1)!.endNs);
  const share = cut.endNs > switchNs ? (cut.endNs - switchNs) / (cut.endNs - cut.startNs) : 0;
  const behind = Math.round(cut.bytes * share);
  const bytes = rounds.slice(before.length).reduce((sum, round) => sum + round.bytes, behind);
  const pages = { normal: 0, zero: 0, xbzrle: 0, compressed: 0 };
  before[before.length - 1] = { ...cut, endNs: Math.min(cut.endNs, switchNs), bytes: cut.bytes - behind, pages };
  const goodput = endNs > switchNs ? (bytes / (endNs - switchNs)) * 1e9 : 0;
  before.push({
    index: before.length + 1,
    startNs: switchNs,
    endNs,
    pages: { ...pages },
    bytes,
    goodput,
    dirtyPagesPerSecond: null,
    boundary: 'post-copy',
    confidence: 0.9,
  });
  return before;
}

/** Distribution of `values`, null when there are none. */
function quantiles(values: ArrayLike<number>): Quantiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!;
  return {
    min: sorted[0]!,
    p50: at(0.5),
    p95: at(0.95),
    p99: at(0.99),
    max: sorted.at(-1)!,
    samples: sorted.length,
  };
}
