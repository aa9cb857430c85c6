// Times the pipeline up to a given stage: what each stage adds to reading alone. `node stages.mjs STAGE FILE [aside]` does it once.
//
// Every run has a process of its own. In one that has made other analyses V8 knows several shapes of each object, and the same code
// takes up to half as long again (measured: finding connections 48 or 170 ns a frame, by luck).
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Analysis } from '../../dist/analyze.js';
import { AnomalyLog } from '../../dist/anomaly.js';
import { openFiles } from '../../dist/capture/source.js';
import { decodeFrames } from '../../dist/decode/frame.js';
import { Connections } from '../../dist/decode/tcp/connections.js';
import { TcpMetricsAside } from '../../dist/decode/tcp/metrics/aside.js';
import { TcpMetrics } from '../../dist/decode/tcp/metrics/index.js';
import { Reassembler } from '../../dist/decode/tcp/reassembly.js';
import { createTracker } from '../../dist/decode/tcp/tracker.js';
import { keepHeapSmall } from '../../dist/heap.js';

export const STAGES = ['read', 'decode', 'connections', 'tracking', 'metrics', 'reassembly', 'everything'];
/** The whole analysis as if rows were neither tracked nor measured: what is left without it. */
export const WITHOUT_TCP = 'all but tracking and metrics';

/** Frames after which whatever is hot has been compiled and the second thread runs. */
const WARM_FRAMES = 200_000;

const program = fileURLToPath(import.meta.url);

/** @returns fastest of `repeats` in seconds and in seconds of CPU time (other work on the machine lengthens only the
 *  former), the number of frames, and ns a frame once warm (0 where the input is too short to say). `aside`: tracked and
 *  measured on a second thread, as large captures are */
export function timeStage(stage, path, repeats, aside = false) {
  const runs = Array.from({ length: repeats }, () => {
    const { stdout, stderr } = spawnSync(process.execPath, [program, stage, path, aside ? 'aside' : ''], {
      encoding: 'utf8',
    });
    if (stdout === '') throw new Error(stderr);
    return JSON.parse(stdout);
  });
  const least = (name) => Math.min(...runs.map((run) => run[name]));
  return { seconds: least('seconds'), cpu: least('cpu'), frames: runs[0].frames, warmNs: least('warmNs') };
}

async function timeOnce(stage, path, aside) {
  keepHeapSmall();
  const log = new AnomalyLog();
  const source = await openFiles([path], log, {});
  const { push, finish } = pipeline(stage, log, aside);
  let frames = 0;
  const start = process.hrtime.bigint();
  const before = process.cpuUsage();
  let [warm, warmFrames] = [start, 0];
  for await (const batch of source.batches()) {
    push(batch);
    frames += batch.count;
    if (warmFrames === 0 && frames >= WARM_FRAMES) [warm, warmFrames] = [process.hrtime.bigint(), frames];
  }
  finish(source.info);
  const end = process.hrtime.bigint();
  const seconds = Number(end - start) / 1e9;
  const warmNs = frames > 2 * WARM_FRAMES ? Number(end - warm) / (frames - warmFrames) : 0;
  const { user, system } = process.cpuUsage(before);
  source.close();
  return { seconds, cpu: (user + system) / 1e6, frames, warmNs };
}

/** A consumer of every stream that looks at nothing: the cost of putting bytes in order alone. */
const TAKES_ALL = { bytes: () => true, hole() {}, end() {} };

const NO_TABLE = { rows: 0, columns: {} };

function pipeline(stage, log, aside) {
  const nothing = () => {};
  if (stage === 'read') return { push: nothing, finish: nothing };
  if (stage === WITHOUT_TCP) {
    TcpMetrics.prototype.push = nothing;
    TcpMetrics.prototype.finish = () => ({
      connections: [],
      timeline: NO_TABLE,
      events: NO_TABLE,
      episodes: NO_TABLE,
      segments: NO_TABLE,
    });
  }
  if (stage === 'everything' || stage === WITHOUT_TCP) {
    const analysis = new Analysis(log, { aside });
    return { push: (batch) => analysis.push(batch), finish: (info) => analysis.finish(info) };
  }
  const depth = STAGES.indexOf(stage);
  const connections = new Connections(log);
  const tcp = aside ? new TcpMetricsAside(log) : new TcpMetrics(log);
  const tracker = createTracker(tcp.nextRows(), log);
  const reassembler = new Reassembler(() => TAKES_ALL, log);
  const push = (batch) => {
    const rows = tcp.nextRows();
    decodeFrames(batch, rows, log);
    if (depth >= 2) connections.place(batch, rows);
    if (stage === 'tracking') tracker.push(0, batch.count, batch.firstFrame);
    if (depth >= 4) tcp.push(batch);
    if (depth >= 5) reassembler.push(batch, rows);
  };
  // The other thread has to be done as well.
  const identities = () => connections.ids().map((id) => connections.identity(id));
  return { push, finish: () => aside && tcp.finish(identities()) };
}

if (process.argv[1] === program) {
  const [stage, path, aside] = process.argv.slice(2);
  console.log(JSON.stringify(await timeOnce(stage, path, aside === 'aside')));
}
