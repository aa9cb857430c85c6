// Several inputs as one sequence of frames in time order.
//
// Always take the frame with the earliest time among the next frames of all inputs; of equal ones, that of the input
// that comes first in rank. An input that steps back in time keeps its own order. Rank is by time of the first frame,
// then by name, so that the result does not depend on the order of the arguments.
//
// An input is opened only when its first frame is due. Rotated files therefore run one after another, each batch passed
// on as it is; only where inputs overlap are frames copied, into one batch. Memory and open files are bounded by how
// many inputs overlap, never by how many there are.
import { tooManyInputs } from '../errors.js';
import { BATCH_BYTES, BATCH_ROWS, INTERFACES, MERGED_INPUTS } from '../limits.js';
import type { CaptureFile } from './capture-file.js';
import type { CaptureInterface, PacketBatch } from './packet-batch.js';
import { createBatch } from './packet-batch.js';

/** An input in its place among the others; the array index is its rank. */
export interface RankedInput {
  /** ns since the common epoch; Infinity where the input has no frame. */
  readonly firstNs: number;
  open(): Promise<CaptureFile>;
}

/** An open input, standing at its next frame. */
interface Cursor {
  readonly rank: number;
  readonly file: CaptureFile;
  row: number;
  /** Interface of the file → interface of the result; short by those not seen yet. */
  readonly ifaces: number[];
}

/**
 * Yields the frames of all inputs in time order, numbered from 1.
 *
 * @param inputs  by rank
 * @throws InputError when an input turns out unusable, or more than MERGED_INPUTS overlap
 */
export async function* mergeInputs(inputs: readonly RankedInput[]): AsyncGenerator<PacketBatch, void, void> {
  const interfaces: CaptureInterface[] = [];
  const active: Cursor[] = [];
  let opened = 0;
  let firstFrame = 1;
  let merged: PacketBatch | null = null;
  let mergedBytes = 0;

  const ready = (batch: PacketBatch): PacketBatch => {
    batch.firstFrame = firstFrame;
    batch.interfaces = interfaces;
    firstFrame += batch.count;
    return batch;
  };
  const resultInterface = (cursor: Cursor, iface: number): number => {
    let index = cursor.ifaces[iface];
    if (index === undefined) {
      index = Math.min(interfaces.length, INTERFACES - 1);
      if (interfaces.length < INTERFACES) interfaces.push(cursor.file.interfaces[iface]!);
      cursor.ifaces[iface] = index;
    }
    return index;
  };

  for (;;) {
    let leader = earliest(active, null);
    while (opened < inputs.length && (leader === null || inputs[opened]!.firstNs < timeOf(leader))) {
      if (active.length === MERGED_INPUTS) throw tooManyInputs(active.length + 1, MERGED_INPUTS);
      const cursor: Cursor = { rank: opened, file: await inputs[opened]!.open(), row: 0, ifaces: [] };
      opened++;
      if (await cursor.file.next()) active.push(cursor);
      else cursor.file.close();
      leader = earliest(active, null);
    }
    if (leader === null) break;

    // The leader runs up to the first frame of anybody else; at equal times only if it ranks before.
    const rival = earliest(active, leader);
    let limitNs = rival === null ? Infinity : timeOf(rival);
    let inclusive = rival === null || leader.rank < rival.rank;
    const waitingNs = inputs[opened]?.firstNs ?? Infinity;
    if (waitingNs < limitNs) {
      limitNs = waitingNs;
      inclusive = true;
    }

    const { batch } = leader.file;
    if (leader.row === 0 && allBefore(batch, limitNs, inclusive)) {
      if (merged !== null && merged.count > 0) {
        yield ready(merged);
        merged.count = 0;
        mergedBytes = 0;
      }
      for (let iface = leader.ifaces.length; iface < leader.file.interfaces.length; iface++) {
        resultInterface(leader, iface);
      }
      renumberInterfaces(batch, leader.ifaces);
      leader.row = batch.count;
      yield ready(batch);
    } else {
      merged ??= createBatch(new Uint8Array(BATCH_BYTES));
      for (; leader.row < batch.count; leader.row++) {
        const row = leader.row;
        const tNs = batch.tNs[row]!;
        if (tNs > limitNs || (tNs === limitNs && !inclusive)) break;
        const captured = batch.captured[row]!;
        if (merged.count === BATCH_ROWS || mergedBytes + captured > BATCH_BYTES) {
          yield ready(merged);
          merged.count = 0;
          mergedBytes = 0;
        }
        const to = merged.count++;
        const from = batch.start[row]!;
        merged.bytes.set(batch.bytes.subarray(from, from + captured), mergedBytes);
        merged.start[to] = mergedBytes;
        merged.captured[to] = captured;
        merged.wire[to] = batch.wire[row]!;
        merged.tNs[to] = tNs;
        merged.iface[to] = resultInterface(leader, batch.iface[row]!);
        merged.way[to] = batch.way[row]!;
        mergedBytes += captured;
      }
    }
    if (leader.row === batch.count) {
      leader.row = 0;
      if (!(await leader.file.next())) {
        leader.file.close();
        active.splice(active.indexOf(leader), 1);
      }
    }
  }
  if (merged !== null && merged.count > 0) yield ready(merged);
}

const timeOf = (cursor: Cursor): number => cursor.file.batch.tNs[cursor.row]!;

/** The cursor, other than `except`, whose next frame comes first; cursors are in the order of their rank. */
function earliest(cursors: readonly Cursor[], except: Cursor | null): Cursor | null {
  let best: Cursor | null = null;
  for (const cursor of cursors) {
    if (cursor !== except && (best === null || timeOf(cursor) < timeOf(best))) best = cursor;
  }
  return best;
}

function allBefore(batch: PacketBatch, limitNs: number, inclusive: boolean): boolean {
  if (limitNs === Infinity) return true;
  const { tNs } = batch;
  for (let row = 0; row < batch.count; row++) {
    if (tNs[row]! > limitNs || (tNs[row] === limitNs && !inclusive)) return false;
  }
  return true;
}

function renumberInterfaces(batch: PacketBatch, ifaces: readonly number[]): void {
  if (ifaces.every((index, iface) => index === iface)) return;
  for (let row = 0; row < batch.count; row++) batch.iface[row] = ifaces[batch.iface[row]!]!;
}
