// Live capture: an interface as a source of batches, whichever program does the capturing.
//
// The engine is a child process that writes pcap or pcapng; its output goes through the file readers, so a live capture
// and a file differ in nothing else. Reading is driven by the consumer. When that is too slow the pipe fills, the engine
// waits, and frames are lost in the kernel's ring, where they are counted: there is no queue in between that grows.
import { type AnomalyCode, AnomalyLog, type Location } from '../anomaly.js';
import { assert, InputError, noEngine } from '../errors.js';
import { EngineChild } from './live/engine-child.js';
import { type CaptureRequest, ENGINE_NAMES, ENGINES, type Engine, type EngineName } from './live/engines.js';
import { hasData, Overlap } from './live/overlap.js';
import type { CaptureInfo, CaptureSource, PacketBatch } from './packet-batch.js';
import { openStream } from './source.js';

export type { CaptureRequest, EngineName } from './live/engines.js';
export { ENGINE_NAMES } from './live/engines.js';

/** What became of narrow(). */
export type Narrowing =
  | { readonly tag: 'starting'; readonly filter: string }
  | { readonly tag: 'done'; readonly filter: string; readonly sinceNs: number }
  | { readonly tag: 'refused'; readonly filter: string; readonly reason: string };

type Frames = AsyncGenerator<PacketBatch, void, void>;

/** How long the narrower capture may show nothing of what the running one hands on, ns: it waits a second for frames. */
const MEETING_NS = 5e9;

/** A running capture. */
export class LiveSource implements CaptureSource {
  readonly info: CaptureInfo;
  /** What does the capturing, and what that means for the result. */
  readonly engine: { readonly name: EngineName; readonly accuracy: string };
  /** Why the capture ended without being asked; null while it runs and when it was. */
  failure: InputError | null = null;
  /** null until narrow() is called. */
  narrowing: Narrowing | null = null;
  /** Whose frames are handed on. */
  #child: EngineChild;
  #successor: Successor | null = null;
  /** The child before, once it has been relieved. */
  #relieved: { readonly child: EngineChild; readonly ended: Promise<void> } | null = null;
  readonly #request: CaptureRequest;
  readonly #engine: Engine;
  readonly #log: AnomalyLog;
  #stream: CaptureSource | null = null;
  /** Handed on so far. */
  #frames = 0;
  /** What the reader of the first child's stream notes. */
  readonly #reading: ReaderLog;

  /** Use openLive(). */
  constructor(child: EngineChild, request: CaptureRequest, log: AnomalyLog) {
    this.#child = child;
    this.#request = request;
    this.#engine = child.engine;
    this.#log = log;
    this.#reading = new ReaderLog(log, 0);
    this.engine = child.engine;
    this.info = { inputs: [], epochNs: null, clock: child.engine.clock };
  }

  /** Frames lost by the capture so far; null when the engine cannot know, or has not said yet. */
  get lost(): number | null {
    const known = [this.#relieved?.child.lost ?? null, this.#child.lost].filter((lost) => lost !== null);
    if (known.length === 0) return null;
    const lost = known.reduce((sum, each) => sum + each, 0);
    // An engine that cannot see the kernel's losses knows of some, never that there are none.
    return lost === 0 && this.#engine.clock === 'arrival' ? null : lost;
  }

  progress(): { doneBytes: number; totalBytes: number | null } {
    return this.#stream?.progress() ?? { doneBytes: 0, totalBytes: null };
  }

  async *batches(): Frames {
    try {
      this.#stream = await openStream(
        this.#request.interface,
        this.#child.capture,
        this.#reading,
        { live: true },
        this.info,
      );
      yield* this.#handOn(this.#stream.batches());
    } catch (error) {
      // An engine that ends inside the file header: its own end says why, see `failure`.
      if (!(error instanceof InputError) || this.#stream !== null) throw error;
    } finally {
      this.#successor?.cancel();
      await this.#relieved?.ended;
      this.failure = await this.#child.ended();
      this.#conclude();
    }
  }

  /** Asks the engine for its count of lost frames; `lost` follows. Call about once a second. */
  count(): void {
    this.#child.count();
  }

  /**
   * Takes only what also matches `filter` from soon on, so that the kernel copies less; see `narrowing`.
   *
   * No engine can change the filter of a running capture. A second child starts, and takes over when both deliver the
   * same frames: without a gap, and no frame twice. Where it does not (the migration runs inside a tunnel that the
   * filter does not look into), the first goes on.
   */
  narrow(filter: string): void {
    const { epochNs } = this.info;
    if (this.narrowing !== null || epochNs === null) return;
    this.narrowing = { tag: 'starting', filter };
    const both = this.#request.filter === null ? filter : `(${this.#request.filter}) and (${filter})`;
    this.#successor = new Successor(this.#engine, { ...this.#request, filter: both }, epochNs, this.#log);
  }

  /** Ends the capture in order: what was handed over is still yielded, then batches() ends. */
  stop(): void {
    this.#successor?.cancel();
    this.#successor = null;
    if (this.narrowing?.tag === 'starting') this.narrowing = null;
    this.#child.stop();
  }

  close(): void {
    this.#successor?.cancel();
    this.#relieved?.child.kill();
    this.#child.kill();
    this.#stream?.close();
  }

  /** The frames of the first child, and of the second once it takes over. */
  async *#handOn(frames: Frames): Frames {
    let relieved = false;
    try {
      for (let next = await frames.next(); !next.done; next = await frames.next()) {
        const batch = next.value;
        this.#tellLost();
        this.#frames += batch.count;
        this.#successor?.overlap.remember(batch);
        yield batch;
        if (this.#successor === null) continue;
        const decision = this.#successor.decide(batch.tNs[batch.count - 1]!);
        if (decision === 'wait') continue;
        if (decision === 'take-over') {
          relieved = true;
          this.#relieve(frames);
          yield* this.#follow(this.#successor);
          return;
        }
        this.#refuse(this.#successor, decision.refusal);
      }
    } finally {
      if (!relieved) await frames.return();
    }
  }

  get #input(): CaptureInfo['inputs'][number] | undefined {
    return this.info.inputs[0];
  }

  #refuse(successor: Successor, reason: string): void {
    successor.cancel();
    this.#successor = null;
    this.narrowing = { tag: 'refused', filter: successor.filter, reason };
  }

  /** Ends the first child; what it still delivers has been, or will be, delivered by the other. */
  #relieve(frames: Frames): void {
    const child = this.#child;
    const passOver = async (): Promise<void> => {
      for await (const batch of frames) this.#account(batch, -1);
      await child.ended();
    };
    this.#reading.shift = null;
    child.stop(0);
    this.#relieved = { child, ended: passOver() };
  }

  async *#follow(successor: Successor): Frames {
    const { overlap, log, filter } = successor;
    const { child, stream, frames, first } = successor.parts();
    this.#successor = null;
    this.#child = child;
    this.#stream = stream;
    const sinceNs = first.tNs[0] ?? 0;
    this.narrowing = { tag: 'done', filter, sinceNs };
    this.#log.note('capture/narrowed', { frame: this.#frames + 1, tNs: sinceNs, input: 0, detail: filter });
    let beyond = false;
    try {
      for (let batch: PacketBatch | null = first; batch !== null; ) {
        const delivered = batch.count;
        const nextFrame = batch.firstFrame + delivered;
        if (!beyond) beyond = overlap.strip(batch);
        batch.firstFrame = this.#frames + 1;
        this.#frames += batch.count;
        log.shift = this.#frames + 1 - nextFrame;
        this.#account(batch, 1);
        this.#tellLost();
        if (batch.count > 0) yield batch;
        batch.count = delivered; // the reader goes on from there
        const next: IteratorResult<PacketBatch, void> = await frames.next();
        batch = next.done ? null : next.value;
      }
    } finally {
      await frames.return();
    }
  }

  /** Counts a batch, or takes it back, where the reader of the first child's stream has counted none, or too much. */
  #account({ count, captured, wire }: PacketBatch, sign: 1 | -1): void {
    const info = this.#input;
    if (!info) return;
    info.frames += sign * count;
    for (let row = 0; row < count; row++) {
      info.capturedBytes += sign * captured[row]!;
      info.wireBytes += sign * wire[row]!;
      if (captured[row]! < wire[row]!) info.cutFrames += sign;
    }
  }

  #tellLost(): void {
    const info = this.#input;
    if (info && this.lost !== null) info.droppedByCapture = this.lost;
  }

  /** One fact each about the whole input; the engine's last count comes after the last frame. */
  #conclude(): void {
    this.#tellLost();
    const { droppedByCapture: lost = 0, cutFrames = 0 } = this.#input ?? {};
    if (cutFrames > 0) this.#log.note('capture/frames-cut', this.#reading.firstCut ?? { input: 0 }, cutFrames);
    if (lost) this.#log.note('capture/dropped', { input: 0 }, lost);
  }
}

/** The child that is to take over: it captures already, and waits until its frames meet those of the running one. */
class Successor {
  readonly filter: string;
  readonly overlap = new Overlap();
  readonly log: ReaderLog;
  readonly info: CaptureInfo;
  #child: EngineChild | null = null;
  #stream: CaptureSource | null = null;
  #frames: Frames | null = null;
  /** Its first frames with data. Nothing more is read until they are met: what comes behind waits in the kernel's ring. */
  #first: PacketBatch | null = null;
  /** The running capture's time when this one was first seen to capture. */
  #sinceNs: number | null = null;
  #failure: string | null = null;
  #cancelled = false;

  /** @param epochNs  the time that both count from */
  constructor(engine: Engine, request: CaptureRequest, epochNs: bigint, log: AnomalyLog) {
    this.filter = request.filter ?? '';
    this.log = new ReaderLog(log, null);
    this.info = { inputs: [], epochNs, clock: engine.clock };
    this.#start(engine, request).catch((error: unknown) => {
      this.#failure = error instanceof Error ? error.message : String(error);
    });
  }

  async #start(engine: Engine, request: CaptureRequest): Promise<void> {
    const child = await EngineChild.start(engine, request);
    this.#child = child;
    if (this.#cancelled) return child.kill();
    this.#stream = await openStream(request.interface, child.capture, this.log, { live: true }, this.info);
    this.#frames = this.#stream.batches();
    // What comes before the first data has been handed on by the other child once that data has.
    let first = await this.#frames.next();
    while (!first.done && !hasData(first.value)) first = await this.#frames.next();
    if (first.done) this.#failure = (await child.ended())?.message ?? 'it ended';
    else this.#first = first.value;
  }

  /** What is to be done once the running capture has handed on a batch whose last frame is of `nowNs`. */
  decide(nowNs: number): 'wait' | 'take-over' | { readonly refusal: string } {
    if (this.#failure !== null) return { refusal: this.#failure };
    if (this.#first !== null && this.overlap.meets(this.#first)) return 'take-over';
    if (this.overlap.full) return { refusal: 'too many frames passed before it had begun' };
    if (this.#child === null) return 'wait';
    this.#sinceNs ??= nowNs;
    if (nowNs - this.#sinceNs <= MEETING_NS) return 'wait';
    return { refusal: 'it shows nothing of the migration, which may run inside a tunnel' };
  }

  /** All of it, once decide() has said 'take-over'. */
  parts(): { child: EngineChild; stream: CaptureSource; frames: Frames; first: PacketBatch } {
    const [child, stream, frames, first] = [this.#child, this.#stream, this.#frames, this.#first];
    assert(child !== null && stream !== null && frames !== null && first !== null, 'took over before it captured');
    return { child, stream, frames, first };
  }

  cancel(): void {
    this.#cancelled = true;
    this.#child?.kill();
    this.#stream?.close();
  }
}

/** What the reader of one engine's stream notes, in the frame numbers of the whole capture. */
class ReaderLog extends AnomalyLog {
  /** Where the first cut frame was. */
  firstCut: Location | null = null;
  readonly #whole: AnomalyLog;

  /** @param shift  added to a frame's number; null while what is read is not handed on, and nothing is noted */
  constructor(
    whole: AnomalyLog,
    public shift: number | null,
  ) {
    super();
    this.#whole = whole;
  }

  override note(code: AnomalyCode, location: Location, count = 1): void {
    const { frame } = location;
    const shifted = frame === undefined ? location : { ...location, frame: frame + (this.shift ?? 0) };
    // What is one fact about the whole input is noted once, at its end.
    if (code === 'capture/frames-cut') this.firstCut ??= shifted;
    else if (code !== 'capture/dropped' && this.shift !== null) this.#whole.note(code, shifted, count);
  }
}

/**
 * Starts capturing.
 *
 * @param engine  a name, or 'auto' for the most precise one that works here
 * @throws UsageError for an unknown interface or a bad filter; InputError when no engine can be used, with the command
 *         that would help
 */
export async function openLive(
  request: CaptureRequest,
  engine: EngineName | 'auto',
  log: AnomalyLog,
): Promise<LiveSource> {
  const failures: InputError[] = [];
  for (const candidate of engine === 'auto' ? ENGINES : [engineNamed(engine)]) {
    try {
      return new LiveSource(await EngineChild.start(candidate, request), request, log);
    } catch (error) {
      if (!(error instanceof InputError)) throw error; // the request is at fault: another engine would not help
      failures.push(error);
    }
  }
  throw failures.length === 1 ? failures[0]! : noEngine(failures);
}

function engineNamed(name: EngineName): Engine {
  const engine = ENGINES.find((candidate) => candidate.name === name);
  assert(engine !== undefined, 'engine without entry', { name, known: ENGINE_NAMES });
  return engine;
}
