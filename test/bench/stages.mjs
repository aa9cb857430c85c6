// Times the pipeline up to a given stage, in this process: what each stage adds to reading alone.
import { Analysis } from '../../dist/analyze.js';
import { AnomalyLog } from '../../dist/anomaly.js';
import { openFiles } from '../../dist/capture/source.js';
import { decodeFrames } from '../../dist/decode/frame.js';
import { Connections } from '../../dist/decode/tcp/connections.js';
import { TcpMetricsAside } from '../../dist/decode/tcp/metrics/aside.js';
import { TcpMetrics } from '../../dist/decode/tcp/metrics/index.js';
import { Reassembler } from '../../dist/decode/tcp/reassembly.js';
import { Tracker } from '../../dist/decode/tcp/tracker.js';

export const STAGES = ['read', 'decode', 'connections', 'tracking', 'metrics', 'reassembly', 'everything'];
/** The same on two threads, as large captures are analysed: what they take in wall time. */
export const STAGES_ASIDE = ['metrics', 'everything'];

/** @returns fastest of `repeats` in seconds and in seconds of CPU time (other work on the machine lengthens only the
 *  former), and the number of frames */
export async function timeStage(stage, path, repeats, aside = false) {
  let best = Number.POSITIVE_INFINITY;
  let bestCpu = Number.POSITIVE_INFINITY;
  let frames = 0;
  for (let i = 0; i < repeats; i++) {
    const log = new AnomalyLog();
    const source = await openFiles([path], log, {});
    const { push, finish } = pipeline(stage, log, aside);
    frames = 0;
    const start = process.hrtime.bigint();
    const cpu = process.cpuUsage();
    for await (const batch of source.batches()) {
      push(batch);
      frames += batch.count;
    }
    finish(source.info);
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
    const used = process.cpuUsage(cpu);
    bestCpu = Math.min(bestCpu, (used.user + used.system) / 1e6);
    source.close();
  }
  return { seconds: best, cpu: bestCpu, frames };
}

/** A consumer of every stream that looks at nothing: the cost of putting bytes in order alone. */
const TAKES_ALL = { bytes: () => true, hole() {}, end() {} };

function pipeline(stage, log, aside) {
  const nothing = () => {};
  if (stage === 'read') return { push: nothing, finish: nothing };
  if (stage === 'everything') {
    const analysis = new Analysis(log, { aside });
    return { push: (batch) => analysis.push(batch), finish: (info) => aside && analysis.finish(info) };
  }
  const depth = STAGES.indexOf(stage);
  const connections = new Connections(log);
  const tcp = aside ? new TcpMetricsAside(log) : new TcpMetrics(log);
  const tracker = new Tracker(log);
  const reassembler = new Reassembler(() => TAKES_ALL, log);
  const push = (batch) => {
    const rows = tcp.nextRows();
    decodeFrames(batch, rows, log);
    if (depth >= 2) connections.place(batch, rows);
    if (stage === 'tracking') tracker.push(batch, rows, 0, batch.count);
    if (depth >= 4) tcp.push(batch, rows);
    if (depth >= 5) reassembler.push(batch, rows);
  };
  // The other thread has to be done as well.
  const identities = () => connections.ids().map((id) => connections.identity(id));
  return { push, finish: () => aside && tcp.finish(identities()) };
}
