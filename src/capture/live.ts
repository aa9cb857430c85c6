// Live capture: an interface as a source of batches, whichever program does the capturing.
//
// The engine is a child process that writes pcap or pcapng; its output goes through the file readers, so a live capture
// and a file differ in nothing else. Reading is driven by the consumer. When that is too slow the pipe fills, the engine
// waits, and frames are lost in the kernel's ring, where they are counted: there is no queue in between that grows.
import type { AnomalyLog } from '../anomaly.js';
import { assert, InputError, noEngine } from '../errors.js';
import { EngineChild } from './live/engine-child.js';
import { type CaptureRequest, ENGINE_NAMES, ENGINES, type Engine, type EngineName } from './live/engines.js';
import type { CaptureInfo, CaptureSource, PacketBatch } from './packet-batch.js';
import { openStream } from './source.js';

export type { CaptureRequest, EngineName } from './live/engines.js';
export { ENGINE_NAMES } from './live/engines.js';

/** A running capture. */
export class LiveSource implements CaptureSource {
  readonly info: CaptureInfo;
  /** What does the capturing, and what that means for the result. */
  readonly engine: { readonly name: EngineName; readonly accuracy: string };
  /** Why the capture ended without being asked; null while it runs and when it was. */
  failure: InputError | null = null;
  readonly #child: EngineChild;
  readonly #log: AnomalyLog;
  readonly #name: string;
  #stream: CaptureSource | null = null;

  /** Use openLive(). */
  constructor(child: EngineChild, request: CaptureRequest, log: AnomalyLog) {
    this.#child = child;
    this.#log = log;
    this.#name = request.interface;
    this.engine = child.engine;
    this.info = { inputs: [], epochNs: null, clock: child.engine.clock };
  }

  /** Frames lost by the capture so far; null when the engine cannot know, or has not said yet. */
  get lost(): number | null {
    const { lost, engine } = this.#child;
    // An engine that cannot see the kernel's losses knows of some, never that there are none.
    return lost === 0 && engine.clock === 'arrival' ? null : lost;
  }

  progress(): { doneBytes: number; totalBytes: number | null } {
    return this.#stream?.progress() ?? { doneBytes: 0, totalBytes: null };
  }

  async *batches(): AsyncGenerator<PacketBatch, void, void> {
    try {
      this.#stream = await openStream(this.#name, this.#child.capture, this.#log, {}, this.info);
      for await (const batch of this.#stream.batches()) {
        this.#tellLost();
        yield batch;
      }
    } catch (error) {
      // An engine that ends inside the file header: its own end says why, see `failure`.
      if (!(error instanceof InputError) || this.#stream !== null) throw error;
    } finally {
      this.failure = await this.#child.ended();
      this.#conclude();
    }
  }

  /** Asks the engine for its count of lost frames; `lost` follows. Call about once a second. */
  count(): void {
    this.#child.count();
  }

  /** Ends the capture in order: what was handed over is still yielded, then batches() ends. */
  stop(): void {
    this.#child.stop();
  }

  close(): void {
    this.#child.kill();
    this.#stream?.close();
  }

  #tellLost(): void {
    const info = this.info.inputs[0];
    if (info && this.lost !== null) info.droppedByCapture = this.lost;
  }

  /** The engine's last count comes after the last frame, when the stream has already noted what was known then. */
  #conclude(): void {
    const noted = this.info.inputs[0]?.droppedByCapture ?? 0;
    this.#tellLost();
    if ((this.lost ?? 0) > noted) this.#log.note('capture/dropped', { input: 0 }, this.lost! - noted);
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
