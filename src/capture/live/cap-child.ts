// A process of its own for the capture library `cap`: argv DEVICE FILTER SNAPLEN, pcap on standard output.
//
// `cap` can take its host process down (heap corruption, segmentation fault after a wrong filter) and, while frames
// arrive faster than they are handled, never returns to the event loop. So it gets a host that may die, and all that must
// happen during a burst (writing, noticing the end) happens inside the frame handler, without waiting for anything.
//
// Frames wait in a bounded queue while the reader is busy; beyond it they are dropped and counted on standard error.
// The end of standard input means stop: it comes when we are told to, and by itself when the parent dies.
// An interface that goes away ends us by an assertion of the library (binding.cc, cb_packets).
// What `cap` does not give: kernel time stamps, the original length of cut frames, the kernel's own losses.
import { readSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { CAP_QUEUE_BYTES, CAPTURE_RING_BYTES } from '../../limits.js';

/** What is used of the package, which has no types of its own. */
interface CapModule {
  readonly Cap: new () => {
    open(device: string, filter: string, bufferBytes: number, frame: Buffer): string;
    on(event: 'packet', handler: (bytes: number, truncated: boolean) => void): void;
  };
}

/** The library's fixed snap length (binding.cc, Open: pcap_set_snaplen). */
const CAP_SNAP_LENGTH = 65_535;
const RECORD_HEADER_BYTES = 16;
const CHUNK_BYTES = 256 << 10;
/** How long the reader may take for what waits when we are told to end, ms. */
const STOP_MS = 8000;
const LINK_TYPES: Readonly<Record<string, number>> = {
  ETHERNET: 1,
  NULL: 0,
  RAW: 101,
  LINKTYPE_LINUX_SLL: 113,
  IEEE802_11_RADIO: 127,
};

const [device = '', filter = '', snapText = ''] = process.argv.slice(2);
const snapLength = snapText === '' ? CAP_SNAP_LENGTH : Math.min(Number(snapText), CAP_SNAP_LENGTH);

/** Says why and ends. Should the library crash on the way out, the words are out already. */
function fail(reason: string): never {
  writeSync(2, `${reason}\n`);
  process.exit(1);
}

// Opening the two streams makes both file descriptors non-blocking, which every readSync and writeSync below relies on.
process.stdin.resume();
void process.stdout;

// ---- the queue -----------------------------------------------------------------------------------------------------

interface Chunk {
  readonly bytes: Buffer;
  used: number;
  frames: number;
}

/** Filled chunks, oldest first; `sent` bytes of the first are out already. */
const waiting: Chunk[] = [];
/** Written chunks, used again: a burst would otherwise outrun the garbage collector. */
const spare: Chunk[] = [];
let sent = 0;
let waitingBytes = 0;
let chunk = emptyChunk();
let dropped = 0;
let droppedReported = 0;

function emptyChunk(): Chunk {
  const next = spare.pop() ?? { bytes: Buffer.allocUnsafe(CHUNK_BYTES), used: 0, frames: 0 };
  next.used = 0;
  next.frames = 0;
  return next;
}

/** Closes the chunk being filled. Only when it is full or next in line: half-empty ones would pile up behind a slow reader. */
function enqueue(): void {
  if (chunk.used === 0) return;
  waiting.push(chunk);
  waitingBytes += chunk.used;
  chunk = emptyChunk();
}

/** Hands on as much as the pipe takes now. */
function flush(): void {
  if (waiting.length === 0) enqueue();
  while (waiting.length > 0) {
    const first = waiting[0]!;
    sent += write(1, first.bytes, sent, first.used);
    if (sent < first.used) break;
    waitingBytes -= first.used;
    spare.push(waiting.shift()!);
    sent = 0;
    if (waiting.length === 0) enqueue();
  }
  if (dropped > droppedReported) {
    const line = Buffer.from(`${dropped} frames dropped by the queue\n`);
    if (write(2, line, 0, line.length) > 0) droppedReported = dropped;
  }
}

/** Bytes taken: 0 when the pipe is full. A pipe without reader ends us. */
function write(file: number, bytes: Buffer, from: number, to: number): number {
  try {
    return writeSync(file, bytes, from, to - from);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EAGAIN') return 0;
    process.exit(1);
  }
}

/** True once standard input has ended; works inside a burst, when no event arrives. */
function inputEnded(): boolean {
  try {
    return readSync(0, Buffer.alloc(1)) === 0;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'EAGAIN';
  }
}

/** Writes out what waits, for a bounded time, counts the rest as dropped, and ends. */
function stop(): never {
  const deadline = performance.now() + STOP_MS;
  const pause = new Int32Array(new SharedArrayBuffer(4));
  for (flush(); waiting.length > 0 && performance.now() < deadline; flush()) Atomics.wait(pause, 0, 0, 1);
  for (const { frames } of waiting) dropped += frames;
  flush();
  process.exit(0);
}
process.stdin.on('end', stop);

// ---- frames --------------------------------------------------------------------------------------------------------

let Cap: CapModule['Cap'];
try {
  ({ Cap } = createRequire(import.meta.url)('cap') as CapModule);
} catch (error) {
  fail(`cap cannot be loaded: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`);
}

// Held here for the whole life of the process: the library keeps a raw pointer to it.
const frame = Buffer.alloc(CAP_SNAP_LENGTH);
const capture = new Cap();
let link = '';
try {
  link = capture.open(device, filter, CAPTURE_RING_BYTES, frame);
} catch (error) {
  fail(error instanceof Error ? error.message : String(error));
}
const linkType = LINK_TYPES[link] ?? Number(/\d+$/.exec(link)?.[0] ?? Number.NaN);
if (!Number.isInteger(linkType)) fail(`unknown link type ${link}`);

const header = Buffer.alloc(24);
header.writeUInt32LE(0xa1b2c3d4, 0); // microseconds: the clock below has no finer grain
header.writeUInt16LE(2, 4);
header.writeUInt16LE(4, 6);
header.writeUInt32LE(snapLength, 16);
header.writeUInt32LE(linkType, 20);
header.copy(chunk.bytes);
chunk.used = header.length;

/** Length on the wire of a frame the library may have cut without saying so: Ethernet, from the IP header. */
function wireLength(bytes: number): number {
  if (bytes < CAP_SNAP_LENGTH || linkType !== 1) return bytes;
  const type = frame.readUInt16BE(12);
  if (type === 0x0800) return Math.max(bytes, 14 + frame.readUInt16BE(16));
  if (type === 0x86dd) return Math.max(bytes, 14 + 40 + frame.readUInt16BE(18));
  return bytes;
}

let scheduled = false;
let sinceLook = 0;
capture.on('packet', (bytes) => {
  const ms = performance.timeOrigin + performance.now();
  const kept = Math.min(bytes, snapLength);
  const size = RECORD_HEADER_BYTES + kept;
  if (chunk.used + size > CHUNK_BYTES) {
    enqueue();
    flush();
  }
  if (waitingBytes + size > CAP_QUEUE_BYTES) {
    dropped++;
  } else {
    const { bytes: record, used } = chunk;
    const seconds = Math.floor(ms / 1000);
    record.writeUInt32LE(seconds, used);
    record.writeUInt32LE(Math.floor((ms - seconds * 1000) * 1000), used + 4);
    record.writeUInt32LE(kept, used + 8);
    record.writeUInt32LE(wireLength(bytes), used + 12);
    frame.copy(record, used + RECORD_HEADER_BYTES, 0, kept);
    chunk.used += size;
    chunk.frames++;
  }
  if (!scheduled) {
    scheduled = true;
    setImmediate(afterBurst);
  }
  if (++sinceLook === 1024) {
    sinceLook = 0;
    if (inputEnded()) stop();
  }
});

/** Runs once the library has drained what had arrived. */
function afterBurst(): void {
  flush();
  if (waiting.length > 0)
    setTimeout(afterBurst, 1); // the pipe is full: a reader that keeps up empties it within 1 ms
  else scheduled = false;
}

flush();
writeSync(2, `listening on ${device}\n`);
