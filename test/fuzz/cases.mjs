// A fuzz case: a seed becomes a capture file, the program under test reads it, and the result is checked.
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { checkHtml, checkReport, checkText } from './checks.mjs';
import { datagrams } from './datagrams.mjs';
import { excerpt, struck } from './samples.mjs';
import { migration } from './streams.mjs';
import { Trouble } from './trouble.mjs';
import { captureFile, conversations, throughCapture } from './wire.mjs';

/**
 * The capture of a seed.
 *
 * @param samples  recordings to cut excerpts from, see loadSamples(); none: built migrations only
 * @param kept     captures found worthwhile before; now and then one of them is spoiled further
 */
export function makeCase(seed, samples, kept = []) {
  const trouble = new Trouble(seed);
  const origin = trouble.next();
  if (kept.length && origin < 0.3) return { kind: 'kept', bytes: spoiled(trouble, trouble.pick(kept)) };
  if (samples.length && origin < 0.6) {
    const sample = trouble.pick(samples);
    const frames = struck(trouble, excerpt(trouble, sample.frames));
    const file = captureFile(trouble, throughCapture(trouble, frames), sample.linkType);
    return { kind: sample.path, bytes: packed(trouble, file) };
  }
  const migrations = Array.from({ length: trouble.chance(0.1) ? 2 : 1 }, () => migration(trouble));
  const channels = migrations.flatMap((each) => each.channels);
  const carry = trouble.chance(0.35) ? datagrams : conversations;
  const frames = throughCapture(trouble, carry(trouble, channels));
  return {
    kind: `${migrations.map((each) => each.mode).join('+')} in ${carry.name}`,
    bytes: packed(trouble, captureFile(trouble, frames)),
  };
}

function packed(trouble, file) {
  const bytes = trouble.strikes(5) ? spoiled(trouble, file) : file;
  if (!trouble.chance(0.05)) return bytes;
  const zipped = gzipSync(bytes, { level: 1 });
  return trouble.chance(0.5) ? spoiled(trouble, zipped) : zipped;
}

/** A few bytes changed, a run removed or doubled, or the end cut off: no knowledge of the format. */
function spoiled(trouble, original) {
  let bytes = Buffer.from(original);
  for (let edits = 1 + trouble.below(6); edits > 0 && bytes.length > 1; edits--) {
    const at = trouble.below(bytes.length);
    const end = Math.min(bytes.length, at + 1 + trouble.below(200));
    switch (trouble.below(6)) {
      case 0:
        bytes[at] ^= 1 << trouble.below(8);
        break;
      case 1:
        bytes[at] = trouble.pick([0, 1, 0x7f, 0x80, 0xff]);
        break;
      case 2:
        bytes.fill(trouble.below(256), at, Math.min(end, at + 8));
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
        break;
      case 4:
        bytes = Buffer.concat([bytes.subarray(0, end), bytes.subarray(at)]);
        break;
      default:
        if (trouble.chance(0.2)) bytes = bytes.subarray(0, at);
    }
  }
  return bytes;
}

/**
 * Runs the whole program on a capture and checks what comes out.
 *
 * @param program  the functions under test: from src/ in tests, from dist/ in long runs
 * @param options  page: also the HTML page and the tables, which cost more than all the rest
 * @returns        'refused' where the input is no capture, else 'analysed'. Throws on every broken promise.
 */
export async function runCase(bytes, program, options = { page: true }) {
  const log = new program.AnomalyLog();
  let source;
  try {
    source = await program.openStream('-', Readable.from([bytes], { objectMode: false }), log);
  } catch (error) {
    if (error instanceof program.InputError) return 'refused';
    throw error;
  }
  const analysis = new program.Analysis(log, {});
  try {
    for await (const batch of source.batches()) {
      analysis.push(batch);
      analysis.snapshot();
    }
  } finally {
    source.close();
  }
  const report = program.judge(program.reportFrom(analysis.finish(source.info), '0.0.0-fuzz'), {});
  checkReport(report);
  const again = JSON.parse(JSON.stringify(report));
  const text = program.renderText(report, { color: false, width: 80 });
  checkText(text);
  if (program.renderText(again, { color: false, width: 80 }) !== text)
    throw new Error('the summary of the JSON differs');
  if (options.page) {
    checkHtml(await program.renderHtml(again));
    for (const files of [program.csvFiles, program.arrowFiles]) {
      for (const { name } of await files(again)) if (!/^[\w-]+\.\w+$/.test(name)) throw new Error(`table file ${name}`);
    }
    checkReport(program.redact(again));
  }
  return 'analysed';
}
