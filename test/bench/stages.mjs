// Times the pipeline up to a given stage, in this process: what each stage adds to reading alone.
import { Analysis } from '../../dist/analyze.js';
import { AnomalyLog } from '../../dist/anomaly.js';
import { openFiles } from '../../dist/capture/source.js';
import { decodeFrames } from '../../dist/decode/frame.js';
import { createRows } from '../../dist/decode/rows.js';
import { Connections } from '../../dist/decode/tcp/connections.js';
import { TcpMetrics } from '../../dist/decode/tcp/metrics/index.js';

export const STAGES = ['read', 'decode', 'connections', 'metrics', 'everything'];

/** @returns fastest of `repeats` in seconds, and the number of frames */
export async function timeStage(stage, path, repeats) {
  let best = Number.POSITIVE_INFINITY;
  let frames = 0;
  for (let i = 0; i < repeats; i++) {
    const log = new AnomalyLog();
    const source = await openFiles([path], log, {});
    const push = pipeline(stage, log);
    frames = 0;
    const start = process.hrtime.bigint();
    for await (const batch of source.batches()) {
      push(batch);
      frames += batch.count;
    }
    best = Math.min(best, Number(process.hrtime.bigint() - start) / 1e9);
    source.close();
  }
  return { seconds: best, frames };
}

function pipeline(stage, log) {
  if (stage === 'read') return () => {};
  if (stage === 'everything') {
    const analysis = new Analysis(log);
    return (batch) => analysis.push(batch);
  }
  const rows = createRows();
  const connections = new Connections(log);
  const metrics = new TcpMetrics(connections, log);
  const depth = STAGES.indexOf(stage);
  return (batch) => {
    decodeFrames(batch, rows, log);
    if (depth >= 2) connections.annotate(batch, rows);
    if (depth >= 3) metrics.push(batch, rows);
  };
}
