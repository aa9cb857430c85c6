// Files and pipes as one capture: what `migscope analyze FILE…` reads.
//
// Several files become one sequence of frames in time order (see merge.ts). This module finds their order, opens them,
// and keeps the counts that every report begins with.
import type { Readable } from 'node:stream';
import { AnomalyLog, type Location } from '../anomaly.js';
import { pipeAmongFiles } from '../errors.js';
import type { ByteInput } from './byte-input.js';
import { openBytes, StreamInput } from './byte-input.js';
import type { CaptureFileOptions } from './capture-file.js';
import { CaptureFile } from './capture-file.js';
import type { RankedInput } from './merge.js';
import { mergeInputs } from './merge.js';
import type { CaptureInfo, CaptureSource, InputInfo, PacketBatch } from './packet-batch.js';

/**
 * Opens captures as one source.
 *
 * @param paths  files in any order, or '-' (or any pipe) alone
 * @param log    gets all damage of the inputs
 * @throws InputError when one of them is missing, unreadable or no capture; UsageError when a pipe is among several
 */
export async function openFiles(
  paths: readonly string[],
  log: AnomalyLog,
  options: CaptureFileOptions = {},
): Promise<CaptureSource> {
  if (paths.length === 1) return openOne(paths[0]!, openBytes(paths[0]!, true), log, options, emptyInfo());
  const info = emptyInfo();
  const looks: Look[] = [];
  for (const path of paths) looks.push(await look(path, options));
  looks.sort(byFirstFrame);
  info.epochNs = looks[0]?.firstNs ?? null;
  info.inputs.push(...looks.map((each) => each.info));
  const inputs = looks.map(({ path, firstNs, totalBytes }, rank) => ({
    firstNs: firstNs === null ? Infinity : Number(firstNs - info.epochNs!),
    totalBytes,
    open: () => openFile(path, openBytes(path), rank, info, log, options),
  }));
  return new Source(info, inputs, log);
}

/**
 * A capture that arrives on a stream, such as the output of a capturing child process.
 *
 * @param info  filled as the capture goes on; for who must know it before the first byte has come
 * @throws InputError when it is no capture
 */
export function openStream(
  name: string,
  stream: Readable,
  log: AnomalyLog,
  options: CaptureFileOptions = {},
  info: CaptureInfo = emptyInfo(),
): Promise<CaptureSource> {
  return openOne(name, new StreamInput(name, stream), log, options, info);
}

const emptyInfo = (): CaptureInfo => ({ inputs: [], epochNs: null, clock: 'kernel' });

async function openOne(
  name: string,
  bytes: ByteInput,
  log: AnomalyLog,
  options: CaptureFileOptions,
  info: CaptureInfo,
): Promise<CaptureSource> {
  const file = await openFile(name, bytes, 0, info, log, options);
  return new Source(info, [{ firstNs: 0, totalBytes: bytes.totalBytes, open: async () => file }], log, file);
}

/** Opens input number `rank` of a capture and enters it into `info`. */
async function openFile(
  name: string,
  bytes: ByteInput,
  rank: number,
  info: CaptureInfo,
  log: AnomalyLog,
  options: CaptureFileOptions,
): Promise<CaptureFile> {
  const file = await CaptureFile.open(name, bytes, rank, info, log, options);
  info.inputs[rank] = file.info;
  return file;
}

/** What a first look at a file tells. */
interface Look {
  readonly path: string;
  readonly info: InputInfo;
  /** null where it has no frame with a time. */
  readonly firstNs: bigint | null;
  readonly totalBytes: number;
}

/** When does this file begin? Nothing stays open; what is wrong with it is noted when it is read in earnest. */
async function look(path: string, options: CaptureFileOptions): Promise<Look> {
  const bytes = openBytes(path);
  const { totalBytes } = bytes;
  const info = emptyInfo();
  if (totalBytes === null) {
    bytes.close();
    throw pipeAmongFiles(path);
  }
  const file = await openFile(path, bytes, 0, info, new AnomalyLog(), options);
  try {
    await file.next();
    return { path, info: file.info, firstNs: info.epochNs, totalBytes };
  } finally {
    file.close();
  }
}

/** The rank of inputs: by first frame, those without one last; then by name. */
function byFirstFrame(a: Look, b: Look): number {
  if (a.firstNs !== b.firstNs) {
    if (a.firstNs === null) return 1;
    if (b.firstNs === null) return -1;
    return a.firstNs < b.firstNs ? -1 : 1;
  }
  if (a.path === b.path) return 0;
  return a.path < b.path ? -1 : 1;
}

interface SourceInput extends RankedInput {
  readonly totalBytes: number | null;
}

class Source implements CaptureSource {
  readonly info: CaptureInfo;
  readonly #log: AnomalyLog;
  readonly #inputs: readonly SourceInput[];
  readonly #files: (CaptureFile | null)[];
  /** Latest time stamp. */
  #lastNs = -Infinity;
  readonly #firstCut = new Map<InputInfo, Location>();

  /** @param opened  the file of a lone input, which is open already */
  constructor(info: CaptureInfo, inputs: readonly SourceInput[], log: AnomalyLog, opened: CaptureFile | null = null) {
    this.info = info;
    this.#log = log;
    this.#files = [opened];
    this.#inputs = inputs.map((input, rank) => ({
      ...input,
      open: async () => (this.#files[rank] = await input.open()),
    }));
  }

  progress(): { doneBytes: number; totalBytes: number | null } {
    let doneBytes = 0;
    let totalBytes: number | null = 0;
    this.#inputs.forEach((input, rank) => {
      doneBytes += this.#files[rank]?.doneBytes ?? 0;
      totalBytes = totalBytes === null || input.totalBytes === null ? null : totalBytes + input.totalBytes;
    });
    return { doneBytes, totalBytes };
  }

  async *batches(): AsyncGenerator<PacketBatch, void, void> {
    try {
      for await (const batch of mergeInputs(this.#inputs)) {
        this.#account(batch);
        yield batch;
      }
    } finally {
      this.#conclude();
      this.close();
    }
  }

  close(): void {
    for (const file of this.#files) file?.close();
  }

  /** Counts what the batch adds to its inputs, and notes cut frames and steps back in time. */
  #account(batch: PacketBatch): void {
    const { count, captured, wire, tNs, iface, interfaces } = batch;
    const { inputs } = this.info;
    let lastNs = this.#lastNs;
    for (let row = 0; row < count; ) {
      // A run of frames of one interface; nearly always the whole batch.
      const of = iface[row]!;
      const from = row;
      let capturedBytes = 0;
      let wireBytes = 0;
      let cutFrames = 0;
      for (; row < count && iface[row] === of; row++) {
        const bytes = captured[row]!;
        const allBytes = wire[row]!;
        const t = tNs[row]!;
        capturedBytes += bytes;
        wireBytes += allBytes;
        if (bytes < allBytes) cutFrames++;
        if (t < lastNs) this.#log.note('capture/time-backwards', this.#locate(batch, row));
        lastNs = t;
      }
      const input = inputs[interfaces[of]!.input]!;
      if (cutFrames > 0 && input.cutFrames === 0) {
        const cut = captured.findIndex((bytes, at) => at >= from && bytes < wire[at]!);
        this.#firstCut.set(input, this.#locate(batch, cut));
      }
      input.frames += row - from;
      input.capturedBytes += capturedBytes;
      input.wireBytes += wireBytes;
      input.cutFrames += cutFrames;
    }
    this.#lastNs = lastNs;
  }

  /** Notes what is one fact about a whole input. */
  #conclude(): void {
    this.info.inputs.forEach((info, input) => {
      const firstCut = this.#firstCut.get(info);
      if (firstCut) this.#log.note('capture/frames-cut', firstCut, info.cutFrames);
      if (info.droppedByCapture) this.#log.note('capture/dropped', { input }, info.droppedByCapture);
    });
  }

  #locate(batch: PacketBatch, row: number): Location {
    const input = batch.interfaces[batch.iface[row]!]!.input;
    return { frame: batch.firstFrame + row, tNs: batch.tNs[row]!, input };
  }
}
