// Metrics on a thread of their own give what they give in place. The thread runs the built program.
import { expect, test } from 'vitest';
import { AnomalyLog } from '../../../../src/anomaly.js';
import { openFiles } from '../../../../src/capture/source.js';
import { decodeFrames } from '../../../../src/decode/frame.js';
import { Connections } from '../../../../src/decode/tcp/connections.js';
import { TcpMetrics } from '../../../../src/decode/tcp/metrics/index.js';
import type { ConnectionEnd, MetricPasses } from '../../../../src/decode/tcp/metrics/metric.js';
import { Passes } from '../../../../src/decode/tcp/metrics/passes.js';
import type { TcpResults } from '../../../../src/decode/tcp/results.js';

const BUILT = new URL('../../../../dist/decode/tcp/metrics/aside.js', import.meta.url).href;
const { PassesAside } = (await import(BUILT)) as typeof import('../../../../src/decode/tcp/metrics/aside.js');

async function measure(file: string, passes: MetricPasses, limit?: number): Promise<TcpResults> {
  const log = new AnomalyLog();
  const connections = new Connections(log, limit === undefined ? {} : { limit });
  const metrics = new TcpMetrics(connections, log, passes);
  const source = await openFiles([file], log);
  for await (const batch of source.batches()) {
    const rows = metrics.nextRows();
    decodeFrames(batch, rows, log);
    connections.annotate(batch, rows);
    metrics.push(batch, rows);
  }
  source.close();
  return metrics.finish();
}

test.each(['samples/multifd.pcap.gz', 'samples/wan-loss.pcap.gz'])(
  '%s: the same results, table by table',
  async (file) => {
    const aside = await measure(file, new PassesAside());
    expect(aside).toEqual(await measure(file, new Passes()));
    expect(aside.timeline.rows).toBeGreaterThan(0);
  },
);

test('connections that give their id up are forgotten before the batch in which another takes it', async () => {
  const file = 'samples/multifd.pcap.gz';
  const aside = await measure(file, new PassesAside(), 1);
  expect(aside).toEqual(await measure(file, new Passes(), 1));
});

test('a fault on the thread is thrown where the results are asked for', () => {
  const passes = new PassesAside();
  passes.nextRows();
  expect(() => passes.finish([{} as ConnectionEnd])).toThrow(TypeError);
});
