// One capture program at work: started, watched, asked for its losses, ended.
//
// Standard output is the capture and is left to the reader; when the reader pauses, the pipe fills, the program blocks
// and the kernel's ring is the place where frames are lost and counted. Standard error is read line by line: readiness,
// losses, and the words for an error message. A fourth stream, the leash, tells that we are still there.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants as files } from 'node:fs';
import type { Socket } from 'node:net';
import { constants, getPriority, setPriority } from 'node:os';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import {
  badFilter,
  capMissing,
  captureNotPermitted,
  engineDied,
  engineFailed,
  engineMissing,
  engineNotExecutable,
  type InputError,
  interfaceDown,
  interfaceGone,
  interfaceWentDown,
  type UsageError,
  unknownInterface,
} from '../../errors.js';
import { ENGINE_TEXT_CHARACTERS } from '../../limits.js';
import { reasonOf } from '../byte-input.js';
import type { CaptureRequest, Engine } from './engines.js';
import { interfaceExists, interfaceNames, isUp } from './interfaces.js';

/** How long an engine may take to open the interface, ms. Opening a 128 MiB ring takes well under one second. */
const START_MS = 15_000;
/** How long it may take to end once told, ms, before it is killed: longer than the host of `cap` gives its queue. */
const STOP_MS = 10_000;

/**
 * Becomes the engine, so that its signals, exit code and output are its own, and leaves a shell behind that waits on the
 * leash. When we are gone, killed even, the leash breaks and the shell kills the engine; on an idle link the engine would
 * not notice by itself before its next frame. A line on the leash means that the engine has ended, and nobody is to be
 * killed whose process id is the same.
 */
const LEASHED = '{ read -r _ || kill -9 $$; } <&3 3<&- >/dev/null 2>&1 & exec 3<&-; exec "$@"';
const LEASH = 3;

interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class EngineChild {
  readonly engine: Engine;
  /** The capture, pcap or pcapng. */
  readonly capture: Readable;
  /** Frames lost so far by the engine's own count; null while it has not said. */
  lost: number | null = null;
  readonly #process: ChildProcess;
  readonly #request: CaptureRequest;
  readonly #exit: Promise<Exit>;
  #text = '';
  #stopped = false;
  #running = true;

  private constructor(engine: Engine, request: CaptureRequest, child: ChildProcess) {
    this.engine = engine;
    this.#request = request;
    this.#process = child;
    this.capture = child.stdout!;
    // A signal that may not be sent, or an end that finds the engine gone: kept for the message, never thrown.
    for (const emitter of [child, child.stdin]) {
      emitter?.on('error', (error) => {
        this.#text += `${reasonOf(error)}\n`;
      });
    }
    // However we end, short of being killed, the engine does not outlive us on a link where it would never notice.
    const kill = (): void => this.kill();
    process.once('exit', kill);
    const leash = child.stdio[LEASH] as Socket | null | undefined;
    leash?.on('error', () => undefined); // the shell has ended before: nobody is left to be told
    leash?.resume();
    child.once('exit', () => leash?.end('\n'));
    this.#exit = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        process.off('exit', kill);
        this.#running = false;
        resolve({ code, signal });
      });
    });
  }

  /**
   * Starts `engine` and waits until it captures.
   *
   * Throws UsageError when the request is at fault (unknown interface, bad filter), InputError when the engine is
   * (missing, not permitted), each with the command that helps.
   */
  static async start(engine: Engine, request: CaptureRequest): Promise<EngineChild> {
    const file = engine.locate();
    if (file === null) throw engineMissing(engine.name, engine.packageName);
    try {
      accessSync(file, files.X_OK);
    } catch {
      throw engineNotExecutable(engine.name, file);
    }
    const child = spawnEngine(engine, file, engine.arguments(request));
    try {
      await once(child, 'spawn');
    } catch (error) {
      throw engineFailed(engine.name, reasonOf(error));
    }
    const started = new EngineChild(engine, request, child);
    favour(child.pid!);
    if (!(await started.#becomesReady())) throw started.#startFailure(file);
    return started;
  }

  /** Asks for the losses so far; the answer changes `lost` soon after. */
  count(): void {
    if (this.#running && this.engine.countSignal) this.#process.kill(this.engine.countSignal);
  }

  /**
   * Ends the engine in order; what it hands over until then can still be read.
   *
   * @param graceMs  by default as long as a frame that is on the wire now may take to be handed over
   */
  stop(graceMs = this.engine.latencyMs): void {
    if (this.#stopped) return;
    this.#stopped = true;
    setTimeout(() => {
      if (!this.#running) return;
      if (this.engine.stopBy === 'end-of-input') this.#process.stdin!.end();
      else this.#process.kill(this.engine.stopBy);
      setTimeout(() => this.kill(), STOP_MS).unref();
    }, graceMs);
  }

  /** Ends the engine at once. */
  kill(): void {
    this.#stopped = true;
    if (this.#running) this.#process.kill('SIGKILL');
  }

  /** Waits for the end; why it came, or null when we asked for it. */
  async ended(): Promise<InputError | null> {
    const { code, signal } = await this.#exit;
    if (this.#stopped) return null;
    if (!interfaceExists(this.#request.interface)) return interfaceGone(this.#request.interface);
    if (isUp(this.#request.interface) === false) return interfaceWentDown(this.#request.interface, this.engine.name);
    return engineDied(this.engine.name, signal ?? (code === 0 ? 'exit code 0' : this.#lastWords()));
  }

  /** True once the engine says that it captures, false when it ended or took too long. */
  async #becomesReady(): Promise<boolean> {
    let settle: (ready: boolean) => void;
    const ready = new Promise<boolean>((resolve) => {
      settle = resolve;
    });
    const decoder = new StringDecoder('utf8');
    this.#process.stderr!.on('data', (bytes: Buffer) => {
      const text = decoder.write(bytes);
      if (this.engine.ready.test(this.#text + text)) settle(true);
      this.#hear(text);
    });
    const timer = setTimeout(() => {
      this.kill();
      settle(false);
    }, START_MS);
    void this.#exit.then(() => settle(false));
    // An engine that fails to start writes no capture; without a reader its output must not keep it from closing.
    const isReady = await ready;
    clearTimeout(timer);
    if (!isReady) {
      this.capture.resume();
      await this.#exit;
    }
    return isReady;
  }

  #hear(text: string): void {
    const from = this.#text.lastIndexOf('\n') + 1;
    const lines = this.#text.slice(from) + text;
    for (const match of lines.matchAll(new RegExp(this.engine.lost, 'g'))) this.lost = Number(match[1]);
    this.#text = (this.#text + text).slice(-ENGINE_TEXT_CHARACTERS);
  }

  #startFailure(file: string): UsageError | InputError {
    const { interface: device, filter } = this.#request;
    const text = this.#text;
    if (this.engine.name === 'cap' && /cannot be loaded/.test(text))
      return capMissing(this.#lastWords().replace(/^cap cannot be loaded: /, ''));
    if (/permission|not permitted|CAP_NET_RAW/i.test(text)) return captureNotPermitted(this.engine.name, file);
    if (/no such device|no device named|doesn't exist/i.test(text)) return unknownInterface(device, interfaceNames());
    if (/is not up|interface is down|network is down/i.test(text)) return interfaceDown(device);
    if (filter !== null && FILTER_COMPLAINT.test(text)) return badFilter(filter, filterComplaint(text));
    return engineFailed(this.engine.name, this.#lastWords());
  }

  #lastWords(): string {
    const lines = this.#text.split('\n').filter((line) => line.trim() !== '');
    return lines.at(-1)?.replace(/\.$/, '') ?? 'it said nothing';
  }
}

/** The end of standard input is a leash of its own; and there is no shell where there is no Unix. */
function spawnEngine(engine: Engine, file: string, args: readonly string[]): ChildProcess {
  const options = {
    env: { ...process.env, LC_ALL: 'C' }, // messages as this file knows them
    detached: true, // Ctrl-C on the terminal is for us: we end the engine in order
  };
  if (engine.stopBy === 'end-of-input') return spawn(file, args, { ...options, stdio: 'pipe' });
  if (process.platform === 'win32') return spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const stdio: readonly ('ignore' | 'pipe')[] = ['ignore', 'pipe', 'pipe', 'pipe'];
  return spawn('/bin/sh', ['-c', LEASHED, 'sh', file, ...args], { ...options, stdio: [...stdio] });
}

/** libpcap's words for a filter that is none (gencode.c, grammar.y.in, nametoaddr.c): with or without the word filter. */
const FILTER_COMPLAINT =
  /filter|syntax error|expression|unknown (?!link)|illegal|can't parse|not supported|rejects all|no VLAN/i;

/** What libpcap dislikes about a filter, out of any engine's words. */
export function filterComplaint(text: string): string {
  // dumpcap first says which filter it means, then what is wrong with it.
  const lines = text.split('\n').filter((line) => !line.startsWith('dumpcap: Invalid capture filter'));
  const line = lines.find((candidate) => FILTER_COMPLAINT.test(candidate));
  return (line ?? text.trim())
    .replace(/^That string isn't a valid capture filter \(/, '')
    .replace(/^.*?can't parse filter expression:\s*/, '')
    .replace(/^tcpdump:\s*/, '')
    .replace(/[).]+$/, '');
}

/** A busy host must not starve the capture. Needs a privilege; without it the engine keeps our priority. */
function favour(pid: number): void {
  const wanted = constants.priority.PRIORITY_ABOVE_NORMAL;
  try {
    if (getPriority(pid) > wanted) setPriority(pid, wanted);
  } catch {
    return; // not permitted to: the kernel's ring absorbs what it can
  }
}
