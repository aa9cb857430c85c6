// Metrics on a thread of their own give what they give in place. The thread runs the built program.
import { expect, test } from 'vitest';
import { AnomalyLog } from '../../../../src/anomaly.js';
import { openFiles } from '../../../../src/capture/source.js';
import { decodeFrames } from '../../../../src/decode/frame.js';
import { type ConnectionIdentity, Connections } from '../../../../src/decode/tcp/connections.js';
import { TcpMetrics } from '../../../../src/decode/tcp/metrics/index.js';
import type { TcpMeasurement } from '../../../../src/decode/tcp/metrics/metric.js';

const BUILT = new URL('../../../../dist/', import.meta.url).href;
const { TcpMetricsAside } = (await import(
  `${BUILT}decode/tcp/metrics/aside.js`
)) as typeof import('../../../../src/decode/tcp/metrics/aside.js');
const { Analysis } = (await import(`${BUILT}analyze.js`)) as typeof import('../../../../src/analyze.js');

async function measure(file: string, start: new (log: AnomalyLog) => TcpMeasurement, limit?: number) {
  const log = new AnomalyLog();
  const connections = new Connections(log, limit === undefined ? {} : { limit });
  const tcp = new start(log);
  connections.onReplaced((id) => tcp.forget(id));
  const source = await openFiles([file], log);
  for await (const batch of source.batches()) {
    const rows = tcp.nextRows();
    decodeFrames(batch, rows, log);
    connections.place(batch, rows);
    tcp.push(batch);
  }
  source.close();
  connections.trim();
  const results = tcp.finish(connections.ids().map((id) => connections.identity(id)));
  return { results, anomalies: log.finish() };
}

test.each(['samples/multifd.pcap.gz', 'samples/wan-loss.pcap.gz'])(
  '%s: the same results, table by table, and the same anomalies',
  async (file) => {
    const aside = await measure(file, TcpMetricsAside);
    expect(aside).toEqual(await measure(file, TcpMetrics));
    expect(aside.results.timeline.rows).toBeGreaterThan(0);
  },
);

test('connections that give their id up are forgotten before the batch in which another takes it', async () => {
  const file = 'samples/multifd.pcap.gz';
  const aside = await measure(file, TcpMetricsAside, 1);
  expect(aside).toEqual(await measure(file, TcpMetrics, 1));
});

test('a fault on the thread is thrown where the results are asked for', () => {
  const tcp = new TcpMetricsAside(new AnomalyLog());
  tcp.nextRows();
  expect(() => tcp.finish([{ id: 1 } as ConnectionIdentity])).toThrow(TypeError);
});

test('while frames are measured on another thread, a snapshot knows what was sent', async () => {
  const analysis = new Analysis(new AnomalyLog(), { aside: true });
  const source = await openFiles(['samples/multifd.pcap.gz'], analysis.log);
  for await (const batch of source.batches()) analysis.push(batch);
  source.close();
  const { channels } = analysis.snapshot();
  const { tcp } = analysis.finish(source.info);
  for (const { connection, uniqueBytes, rttNs } of channels) {
    const { directions } = tcp.connections.find(({ id }) => id === connection)!;
    expect([uniqueBytes, rttNs]).toEqual([Math.max(directions[0].uniqueBytes, directions[1].uniqueBytes), null]);
  }
  expect(channels.length).toBeGreaterThan(2);
});
