// TCP metrics on a thread of their own: what comes next in a large capture is decoded while frames are tracked and measured.
//
// Batches go over in a ring of rows in shared memory, of which nothing is copied. Either side waits for the other without
// giving control back to its event loop, so that an analysis stays a sequence of plain calls.
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from 'node:worker_threads';
import { type Anomaly, AnomalyLog } from '../../../anomaly.js';
import type { PacketBatch } from '../../../capture/packet-batch.js';
import type { ColumnData } from '../../../columns.js';
import { BATCH_ROWS } from '../../../limits.js';
import { createRowRing, type SegmentRows } from '../../rows.js';
import type { ConnectionIdentity } from '../connections.js';
import type { ConnectionSnapshot, TcpResults } from '../results.js';
import { TcpMetrics } from './index.js';
import type { TcpMeasurement } from './metric.js';
import { bareSnapshotOf } from './snapshot.js';

/** Batches under way: what keeps both sides busy, and the analysis going while the thread starts. */
const SLOTS = 6;
/** Words of `control`: batches handed over, and batches done; the end counts as one. */
const GIVEN = 0;
const DONE = 1;
const ALL_DONE = 0x7fffffff;
/** `rows` of the slot behind the last batch. */
const END = 0xffffffff;
/** Longer than any batch takes, even on a machine that swaps. */
const PATIENCE_MS = 120_000;

/** A batch under way, beside its rows. */
interface Slot {
  /** One value each. */
  readonly firstFrame: Float64Array;
  readonly count: Uint32Array;
  readonly forgottenCount: Uint32Array;
  /** Connections to forget before the rows: a batch cannot replace more than it has rows. */
  readonly forgotten: Uint32Array;
}

/** What the thread gets when it starts. */
export interface AsideStart {
  readonly control: Int32Array;
  readonly rows: SegmentRows;
  readonly slots: readonly Slot[];
  /** Brings the connections when all batches have been handed over, and takes the results. */
  readonly port: MessagePort;
}

type Answer = { readonly results: TcpResults; readonly anomalies: readonly Anomaly[] } | { readonly error: unknown };

/** Room for young objects: there are few, and V8 takes ten times as much if it may. */
const YOUNG_MB = 4;

export class TcpMetricsAside implements TcpMeasurement {
  readonly #log: AnomalyLog;
  readonly #control = new Int32Array(new SharedArrayBuffer(8));
  readonly #rows = createRowRing(SLOTS, true);
  readonly #slots = Array.from({ length: SLOTS }, createSlot);
  readonly #port: MessagePort;
  /** Batches handed over. */
  #given = 0;

  constructor(log: AnomalyLog) {
    this.#log = log;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    const workerData: AsideStart = {
      control: this.#control,
      rows: this.#rows.whole,
      slots: this.#slots,
      port: port2,
    };
    const worker = new Worker(new URL('./metrics-thread.js', import.meta.url), {
      workerData,
      transferList: [port2],
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MB },
    });
    // An analysis that is given up must not keep the process from ending.
    worker.unref();
  }

  nextRows(): SegmentRows {
    this.#nextSlot();
    return this.#rows.parts[this.#given % SLOTS]!;
  }

  push({ count, firstFrame }: Pick<PacketBatch, 'count' | 'firstFrame'>): void {
    const slot = this.#nextSlot();
    slot.firstFrame[0] = firstFrame;
    this.#give(slot, count);
  }

  forget(connection: number): void {
    const { forgotten, forgottenCount } = this.#nextSlot();
    forgotten[forgottenCount[0]!++] = connection;
  }

  snapshot(connection: ConnectionIdentity, sentBytes: readonly [number, number]): ConnectionSnapshot {
    return bareSnapshotOf(connection, sentBytes);
  }

  finish(connections: readonly ConnectionIdentity[]): TcpResults {
    this.#port.postMessage(connections);
    this.#give(this.#nextSlot(), END);
    this.#waitFor(ALL_DONE);
    const answer = receiveMessageOnPort(this.#port)!.message as Answer;
    this.#port.close();
    if ('error' in answer) throw answer.error;
    this.#log.take(answer.anomalies);
    return answer.results;
  }

  /** The slot to be filled; waits until it is free. */
  #nextSlot(): Slot {
    this.#waitFor(this.#given - SLOTS + 1);
    return this.#slots[this.#given % SLOTS]!;
  }

  #give(slot: Slot, count: number): void {
    slot.count[0] = count;
    Atomics.store(this.#control, GIVEN, ++this.#given);
    Atomics.notify(this.#control, GIVEN);
  }

  /** Waits until the thread is done with so many batches. */
  #waitFor(batches: number): void {
    for (;;) {
      const done = Atomics.load(this.#control, DONE);
      if (done >= batches) return;
      if (Atomics.wait(this.#control, DONE, done, PATIENCE_MS) === 'timed-out') {
        throw new Error('the thread that measures does not answer');
      }
    }
  }
}

const createSlot = (): Slot => ({
  firstFrame: new Float64Array(new SharedArrayBuffer(8)),
  count: new Uint32Array(new SharedArrayBuffer(4)),
  forgottenCount: new Uint32Array(new SharedArrayBuffer(4)),
  forgotten: new Uint32Array(new SharedArrayBuffer(4 * BATCH_ROWS)),
});

/** The thread: measures batch after batch, and answers once. */
export function runAside(start: AsideStart): void {
  const { control, port } = start;
  try {
    const log = new AnomalyLog();
    const results = measure(start, log);
    const tables = [results.timeline, results.events, results.episodes, results.segments];
    port.postMessage({ results, anomalies: log.finish() } satisfies Answer, tables.flatMap(buffersOf));
  } catch (error) {
    port.postMessage({ error } satisfies Answer);
  }
  Atomics.store(control, DONE, ALL_DONE);
  Atomics.notify(control, DONE);
}

function measure({ control, rows, slots, port }: AsideStart, log: AnomalyLog): TcpResults {
  const metrics = new TcpMetrics(log, rows);
  for (let batch = 0; ; batch++) {
    while (Atomics.load(control, GIVEN) === batch) Atomics.wait(control, GIVEN, batch);
    const { firstFrame, count, forgotten, forgottenCount } = slots[batch % SLOTS]!;
    for (let at = 0; at < forgottenCount[0]!; at++) metrics.forget(forgotten[at]!);
    forgottenCount[0] = 0;
    if (count[0] === END) {
      return metrics.finish(receiveMessageOnPort(port)!.message as readonly ConnectionIdentity[], true);
    }
    const from = (batch % SLOTS) * BATCH_ROWS;
    metrics.take(from, from + count[0]!, firstFrame[0]! - from);
    Atomics.store(control, DONE, batch + 1);
    Atomics.notify(control, DONE);
  }
}

const buffersOf = ({ columns }: ColumnData): ArrayBuffer[] =>
  Object.values(columns).flatMap(({ values }) =>
    ArrayBuffer.isView(values) && values.buffer instanceof ArrayBuffer ? [values.buffer] : [],
  );
