// What coverage-guided fuzzing calls (jazzer.mjs): each target reads the fuzzer's bytes as input of one part of the
// program, in a form in which a changed byte stays a meaningful input, and checks what comes out.
import { Readable } from 'node:stream';
import { checkHtml, checkMigration, checkReport, checkText } from './checks.mjs';
import { HOSTILE_NAMES } from './trouble.mjs';

/** Frames of one input: enough to get deep, few enough for hundreds of inputs a second. */
const FRAMES = 2000;
const BYTES = 4 << 20;
const LINK_TYPES = [1, 113, 276, 0, 108, 101, 228, 229, 147, 12, 14];
const UDP_PORTS = [9000, 51_820, 4500, 443, 1194, 4791, 4789, 53, 6081, 67, 7471, 3478, 4433, 5000, 8472, 500];

/** The fuzzer's bytes, read from the front; zeros behind their end. */
class Script {
  #bytes;
  #at = 0;

  constructor(bytes) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get more() {
    return this.#at < this.#bytes.length;
  }

  u8() {
    return this.#bytes[this.#at++] ?? 0;
  }

  u16() {
    return this.u8() * 256 + this.u8();
  }

  /** At most `length` bytes: those that are left. */
  take(length) {
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += part.length;
    return part;
  }
}

/** Frames put into one batch as a capture source would. */
class Frames {
  #pieces = [];
  #captured = [];
  #wire = [];
  #times = [];
  #bytes = 0;
  nowNs = 0;
  stepsBack = false;

  get full() {
    return this.#captured.length >= FRAMES || this.#bytes >= BYTES;
  }

  add(wire, ...pieces) {
    const captured = pieces.reduce((sum, piece) => sum + piece.length, 0);
    this.#pieces.push(...pieces);
    this.#captured.push(captured);
    this.#wire.push(Math.max(captured, wire));
    this.#times.push(this.nowNs);
    this.#bytes += captured;
    this.nowNs += 10_000;
  }

  batch(program, linkType) {
    const batch = program.createBatch(Buffer.concat(this.#pieces));
    batch.interfaces = [{ input: 0, linkType, fcsBytes: 0, snapLength: null, name: '' }];
    let start = 0;
    this.#captured.forEach((captured, row) => {
      batch.start[row] = start;
      batch.captured[row] = captured;
      batch.wire[row] = this.#wire[row];
      batch.tNs[row] = this.#times[row];
      start += captured;
    });
    batch.count = this.#captured.length;
    return batch;
  }
}

const ETHERNET = Buffer.from('5254000000025254000000010800', 'hex');

/** Ethernet and IPv4 in front of `length` bytes of a protocol, from side 0 or 1. */
function headers(side, protocol, length) {
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(Math.min(0xffff, 20 + length), 2);
  ip[8] = 64;
  ip[9] = protocol;
  ip.writeUInt32BE(0x0a000001 + side, 12);
  ip.writeUInt32BE(0x0a000002 - side, 16);
  return Buffer.concat([ETHERNET, ip]);
}

function analysed(program, frames, linkType = 1) {
  const log = new program.AnomalyLog();
  const analysis = new program.Analysis(log, {});
  analysis.push(frames.batch(program, linkType));
  analysis.snapshot();
  const capture = { inputs: [], epochNs: 1_700_000_000_000_000_000n, clock: 'kernel' };
  const report = program.judge(program.reportFrom(analysis.finish(capture), '0.0.0-fuzz'), {});
  checkReport(report, frames.stepsBack);
  checkText(program.renderText(report, { color: false, width: 80 }));
  return report;
}

/**
 * TCP conversations. Each step: a byte of channel (bits 0-1), side (bit 2) and kind (bits 3-5), two bytes of length, then
 * 0-2 data; 3 a run of one byte; 4 bytes the capture lost, in 16; 5 bytes sent again; 6 FIN, RST or an answer that
 * acknowledges; 7 time that passes, or steps back.
 */
function conversation(program, script) {
  const frames = new Frames();
  const sent = Array.from({ length: 4 }, () => [0, 0]);
  const segment = (channel, side, offset, flags, payload) => {
    const tcp = Buffer.alloc(20);
    tcp.writeUInt16BE(side ? 4444 : 40_000 + channel, 0);
    tcp.writeUInt16BE(side ? 40_000 + channel : 4444, 2);
    tcp.writeUInt32BE((1000 + offset) >>> 0, 4);
    tcp.writeUInt32BE((1000 + sent[channel][1 - side]) >>> 0, 8);
    tcp[12] = 0x50;
    tcp[13] = flags;
    tcp.writeUInt16BE(0xffff, 14);
    frames.add(0, headers(side, 6, 20 + payload.length), tcp, payload);
  };
  const none = Buffer.alloc(0);
  const opened = [false, false, false, false];
  while (script.more && !frames.full) {
    const step = script.u8();
    const [channel, side, kind] = [step & 3, (step >> 2) & 1, (step >> 3) & 7];
    const length = Math.min(script.u16(), 65_000);
    if (!opened[channel] && !(step & 0x40)) {
      segment(channel, 0, -1, 2, none);
      segment(channel, 1, -1, 18, none);
    }
    opened[channel] = true;
    const at = sent[channel][side];
    if (kind === 7) {
      frames.stepsBack ||= length >= 0x8000;
      frames.nowNs += length < 0x8000 ? length * 10_000 : -(length - 0x8000) * 1000;
    } else if (kind === 6) {
      segment(channel, side, at, length < 256 ? [17, 20, 16, 4][length & 3] : 16, none);
    } else if (kind === 5) {
      segment(channel, side, Math.max(0, at - length), 16, Buffer.alloc(Math.min(length, 1400), 7));
    } else if (kind === 4) {
      sent[channel][side] += length * 16;
    } else {
      const payload = kind === 3 ? Buffer.alloc(length, script.u8()) : script.take(length);
      segment(channel, side, at, 24, payload);
      sent[channel][side] += payload.length;
    }
  }
  const report = analysed(program, frames);
  const moved = report.connections
    .flatMap(({ directions }) => directions)
    .reduce((sum, { uniqueBytes, unseenBytes }) => sum + uniqueBytes + unseenBytes, 0);
  const claimed = report.migrations.reduce((sum, { bytes }) => sum + bytes.total, 0);
  const holes = report.anomalies.some(({ code }) => code.startsWith('stream/hole'));
  if (claimed > moved && !holes) throw new Error(`migrations of ${claimed} bytes in connections of ${moved}`);
}

/**
 * The script of `conversation` without TCP around it: a tenth of the work, so many more streams. Bytes go to whoever claims
 * them, in order; 4 is a hole; 5 moves time back by a little, as late copies do; 6 ends a direction.
 */
function streams(program, script) {
  const log = new program.AnomalyLog();
  const client = (id) => ({ address: '10.0.0.1', port: 40_000 + id });
  const directory = {
    identity: (id) => ({ client: client(id), server: { address: '10.0.0.2', port: 4444 }, startNs: 0 }),
  };
  const session = new program.MigrationStreams(log, directory);
  const feeds = Array.from({ length: 8 }, (_, direction) => new program.StreamFeed(direction, session.claim, true));
  const moved = new Array(8).fill(0);
  let [tNs, frame, bytes, disorder] = [0, 0, 0, false];
  while (script.more && bytes < BYTES) {
    const step = script.u8();
    const [direction, kind] = [2 * (step & 3) + ((step >> 2) & 1), (step >> 3) & 7];
    const length = Math.min(script.u16(), 65_000);
    const feed = feeds[direction];
    tNs += 10_000;
    frame++;
    if (kind === 7) tNs += length * 10_000;
    else if (kind === 6) feed.end(['fin', 'rst', 'idle', 'capture-end'][length & 3], tNs, frame);
    else if (kind === 5) {
      disorder = true;
      tNs -= length * 100;
    } else if (kind === 4) feed.hole(length * 16, ['unseen', 'cut', 'given-up'][length % 3], tNs, frame);
    else {
      const payload = kind === 3 ? Buffer.alloc(length, script.u8()) : script.take(length);
      feed.bytes(payload, 0, payload.length, tNs, frame);
      bytes += payload.length;
    }
    if (kind <= 4) moved[direction] = feed.offset;
    if (frame % 16 === 0) session.snapshot();
  }
  for (const feed of feeds) feed.end('capture-end', tNs, frame);
  const { migrations } = session.finish();
  const connections = [0, 1, 2, 3].map((id) => ({ id }));
  const anomalies = log.finish();
  const report = { anomalies, connections, flows: [] };
  migrations.forEach((migration, i) => {
    checkMigration(migration, i, report, disorder);
  });
  const claimed = migrations.reduce((sum, migration) => sum + migration.bytes.total, 0);
  const most = moved.reduce((sum, offset) => sum + offset, 0);
  if (claimed > most) throw new Error(`migrations of ${claimed} bytes in streams of ${most}`);
}

/** UDP. Each datagram: a byte of port (bits 0-3), side (4), client port (5) and a jump of time (6), two of length, content. */
function datagrams(program, script) {
  const frames = new Frames();
  while (script.more && !frames.full) {
    const head = script.u8();
    const body = script.take(script.u16() & 0x7ff);
    const side = (head >> 4) & 1;
    const ports = [40_000 + ((head >> 5) & 1), UDP_PORTS[head & 15]];
    const udp = Buffer.alloc(8);
    udp.writeUInt16BE(ports[side], 0);
    udp.writeUInt16BE(ports[1 - side], 2);
    udp.writeUInt16BE(8 + body.length, 4);
    if (head & 0x40) frames.nowNs += 50_000_000;
    frames.add(0, headers(side, 17, 8 + body.length), udp, body);
  }
  analysed(program, frames);
}

/** Whole frames of a link type: a byte that chooses it, then for each frame two of length and flags, and its bytes. */
function frames(program, script) {
  const linkType = LINK_TYPES[script.u8() % LINK_TYPES.length];
  const out = new Frames();
  while (script.more && !out.full) {
    const head = script.u16();
    if (head & 0x8000) out.nowNs -= 2_000_000;
    out.stepsBack ||= head >= 0x8000;
    const bytes = script.take(head & 0x7ff);
    out.add(head & 0x4000 ? bytes.length + 1000 : 0, bytes);
  }
  analysed(program, out, linkType);
}

/** Capture files of every format, packed or not: as they are. */
async function reader(program, _script, bytes) {
  const log = new program.AnomalyLog();
  let rows = 0;
  try {
    const source = await program.openStream('-', Readable.from([Buffer.from(bytes)], { objectMode: false }), log);
    for await (const batch of source.batches()) {
      for (let row = 0; row < batch.count; row++) {
        const [start, captured] = [batch.start[row], batch.captured[row]];
        if (start + captured > batch.bytes.length) throw new Error('a frame outside of memory');
        if (captured > batch.wire[row]) throw new Error('more captured than there was');
        if (!Number.isFinite(batch.tNs[row])) throw new Error('a frame without time');
        if (batch.iface[row] >= batch.interfaces.length) throw new Error('a frame of no interface');
      }
      rows += batch.count;
    }
    const counted = source.info.inputs.reduce((sum, { frames: count }) => sum + count, 0);
    if (counted !== rows) throw new Error(`${counted} frames counted, ${rows} read`);
  } catch (error) {
    if (!(error instanceof program.InputError)) throw error;
  }
}

/** A device description: as it is. */
function description(program, _script, bytes) {
  const described = program.describedDevices(bytes);
  for (const { bytes: size } of described?.devices ?? []) {
    if (!Number.isSafeInteger(size) || size < 0) throw new Error(`a device of ${size} bytes`);
  }
}

const ODD_VALUES = [
  ...[null, 0, -1, 0.5, 1e308, -1e308, 5e-324, 2 ** 53, -0, true, '', [], {}, 'x'.repeat(70_000)],
  ...HOSTILE_NAMES,
];

/** Entries of a list and rows of a table that are kept of a saved result: what follows is read as they are. */
const KEPT_ENTRIES = 3;

/** A saved result with short lists, and the path of every value in it. Made once for each result. */
const prepared = new WeakMap();
function preparedResult(report) {
  if (!prepared.has(report)) {
    const small = shortResult(report);
    prepared.set(report, { text: JSON.stringify(small), paths: pathsOf(small) });
  }
  return prepared.get(report);
}

/** The result with no more than KEPT_ENTRIES entries in any list, and tables to match. */
export function shortResult(report) {
  const small = shortened(report);
  for (const table of Object.values(small.tables)) table.rows = Math.min(table.rows, KEPT_ENTRIES);
  return small;
}

function shortened(value) {
  if (Array.isArray(value)) return value.slice(0, KEPT_ENTRIES).map(shortened);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shortened(inner)]));
}

/** The path of every value inside `value`, as lists of keys. */
export function pathsOf(value, path = [], out = []) {
  if (typeof value !== 'object' || value === null) return out;
  for (const key of Object.keys(value)) {
    out.push([...path, key]);
    pathsOf(value[key], [...path, key], out);
  }
  return out;
}

/** What holds the last key of `path`; undefined where an edit took it away. */
function holderOf(value, path) {
  const inner = path
    .slice(0, -1)
    .reduce((part, key) => (Object.hasOwn(part ?? {}, key) ? part[key] : undefined), value);
  return typeof inner === 'object' && inner !== null && Object.hasOwn(inner, path.at(-1)) ? inner : undefined;
}

/**
 * A saved result with some of its values replaced: a byte that chooses it, then for each edit two of place, one of value.
 * Places are numbers that stay the same whatever was edited before, so a fuzzer that found a good one keeps it.
 */
function saved(program, script, _bytes, { reports, page }) {
  const { text, paths } = preparedResult(reports[script.u8() % reports.length]);
  const report = JSON.parse(text);
  for (let edits = 0; script.more && edits < 12; edits++) {
    const path = paths[script.u16() % paths.length];
    const how = script.u8();
    const holder = holderOf(report, path);
    if (holder === undefined) continue;
    const key = path.at(-1);
    if (how < ODD_VALUES.length) holder[key] = structuredClone(ODD_VALUES[how]);
    else if (how < 64) delete holder[key];
    else if (how < 96 && Array.isArray(holder)) holder.push(structuredClone(holder[key]));
    else if (how < 128 && typeof holder[key] === 'number') holder[key] *= how - 111.5;
    else {
      const from = paths[script.u16() % paths.length];
      const value = holderOf(report, from)?.[from.at(-1)];
      if (value !== undefined) holder[key] = structuredClone(value);
    }
  }
  const read = program.checkSaved(JSON.parse(JSON.stringify(report)));
  if (typeof read === 'string') return undefined;
  const judged = program.judge(read, {});
  const options = { color: false, width: 80 };
  checkText(program.renderText(judged, options));
  const named = ['a', 'b'].map((name, i) => ({ name, report: i ? judged : program.redact(judged) }));
  checkText(program.renderCompareText(program.compareReports(named), options));
  return page ? program.renderHtml(judged).then(checkHtml) : undefined;
}

const TARGETS = { reader, frames, conversation, streams, datagrams, description, saved };

/** Names of the targets. */
export const TARGET_NAMES = Object.keys(TARGETS);

/**
 * Runs one input through a target. Throws where a promise of docs/robustness.md is broken.
 *
 * @param program  the functions under test, see program.mjs
 * @param options  reports: saved results that `saved` edits; page: whether it renders the page as well
 */
export async function runTarget(name, bytes, program, options = { reports: [], page: false }) {
  await TARGETS[name](program, new Script(bytes), bytes, options);
}

/** A stream as steps of `conversation`; long runs of one byte become short. */
export function conversationSteps(channel, side, stream, pieceBytes = 4000) {
  const head = (kind, length) => Buffer.of(channel | (side << 2) | (kind << 3), length >> 8, length & 255);
  const steps = [];
  let from = 0;
  const data = (until) => {
    for (; from < until; from += pieceBytes) {
      const part = stream.subarray(from, Math.min(until, from + pieceBytes));
      steps.push(head(0, part.length), part);
    }
    from = until;
  };
  for (let at = 0; at < stream.length; ) {
    let end = at + 1;
    while (end < stream.length && end - at < 65_000 && stream[end] === stream[at]) end++;
    if (end - at >= 64) {
      data(at);
      steps.push(head(3, end - at), Buffer.of(stream[at]));
      from = end;
    }
    at = end;
  }
  data(stream.length);
  return Buffer.concat(steps);
}
