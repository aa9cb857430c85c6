// Times the pipeline up to a given stage, in this process: what each stage adds to reading alone.
import { Analysis } from '../../dist/analyze.js';
import { AnomalyLog } from '../../dist/anomaly.js';
import { openFiles } from '../../dist/capture/source.js';
import { decodeFrames } from '../../dist/decode/frame.js';
import { createRows } from '../../dist/decode/rows.js';
import { Connections } from '../../dist/decode/tcp/connections.js';
import { TcpMetrics } from '../../dist/decode/tcp/metrics/index.js';
import { Reassembler } from '../../dist/decode/tcp/reassembly.js';

export const STAGES = ['read', 'decode', 'connections', 'metrics', 'reassembly', 'everything'];

/** @returns fastest of `repeats` in seconds and in seconds of CPU time (other work on the machine lengthens only the
 *  former), and the number of frames */
export async function timeStage(stage, path, repeats) {
  let best = Number.POSITIVE_INFINITY;
  let bestCpu = Number.POSITIVE_INFINITY;
  let frames = 0;
  for (let i = 0; i < repeats; i++) {
    const log = new AnomalyLog();
    const source = await openFiles([path], log, {});
    const push = pipeline(stage, log);
    frames = 0;
    const start = process.hrtime.bigint();
    const cpu = process.cpuUsage();
    for await (const batch of source.batches()) {
      push(batch);
      frames += batch.count;
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
    const used = process.cpuUsage(cpu);
    bestCpu = Math.min(bestCpu, (used.user + used.system) / 1e6);
    source.close();
  }
  return { seconds: best, cpu: bestCpu, frames };
}

/** A consumer of every stream that looks at nothing: the cost of putting bytes in order alone. */
const TAKES_ALL = { bytes: () => true, hole() {}, end() {} };

function pipeline(stage, log) {
  if (stage === 'read') return () => {};
  if (stage === 'everything') {
    const analysis = new Analysis(log);
    return (batch) => analysis.push(batch);
  }
  const rows = createRows();
  const connections = new Connections(log);
  const metrics = new TcpMetrics(connections, log);
  const reassembler = new Reassembler(() => TAKES_ALL, log);
  const depth = STAGES.indexOf(stage);
  return (batch) => {
    decodeFrames(batch, rows, log);
    if (depth >= 2) connections.annotate(batch, rows);
    if (depth >= 3) metrics.push(batch, rows);
    if (depth >= 4) reassembler.push(batch, rows);
  };
}
