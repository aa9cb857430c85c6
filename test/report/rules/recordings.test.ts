// The verdict on real recordings whose cause is known: how each was set up stands in its truth file.
import { expect, test } from 'vitest';
import { Analysis } from '../../../src/analyze.js';
import { AnomalyLog } from '../../../src/anomaly.js';
import { openFiles } from '../../../src/capture/source.js';
import { reportFrom } from '../../../src/report/from-results.js';
import { diagnose } from '../../../src/report/rules/engine.js';
import { describeShared, sharedCapture } from '../../support/shared.js';

/** Capture, the rule that must come first, and rules that it must be said to explain. Null: nothing above info. */
const EXPECTED: readonly (readonly [capture: string, rule: string | null, explains?: readonly string[]])[] = [
  ['precopy-5.2/src.pcap.gz', null],
  ['precopy-7.2/src.pcap.gz', null],
  ['precopy-7.2/dst.pcap.gz', null],
  ['multifd-10.0/src.pcap.gz', null],
  ['multifd-zstd-11.1/src.pcap.gz', null],
  ['compress-7.2/src.pcap.gz', null],
  ['postcopy-7.2/src.pcap.gz', null],
  ['postcopy-10.0/src.pcap.gz', null],
  ['vxlan-7.2/src.pcap.gz', null],
  ['tls-10.0/src.pcap.gz', null],
  ['tls-precopy-twin/src.pcap.gz', null],
  ['headers-only-10.0/src.pcap.gz', null],
  ['headers-only-precopy-7.2/src.pcap.gz', null],
  ['xbzrle-7.2/src.pcap.gz', 'R-A1'], // max-bandwidth 6 MB/s
  ['rwnd-ipv6/src.pcap.gz', 'R-B3', ['R-F1']], // tcp_rmem 64 KiB, 20 ms
  ['wan-cubic-loss/src.pcap.gz', 'R-B1', ['R-E1', 'R-E2']], // 0.1 % random loss, 20 ms
  ['wan-cubic-loss/dst.pcap.gz', 'R-B1', ['R-E1', 'R-E2']],
  ['wan-cubic-tail/src.pcap.gz', 'R-B1'], // 50 Mbit/s with a 96 KiB queue
  ['wan-cubic-tail/dst.pcap.gz', 'R-B1'],
  ['wan-bbr-loss/src.pcap.gz', 'R-B1'], // BBR overruns the queue at its start: 2956 tail drops, one timeout
  ['tcp/app_slice/sender.pcap.gz', 'R-A1'], // 500 kB every 100 ms
  ['tcp/app_slice/receiver.pcap.gz', 'R-A1'],
  ['tcp/blackout/sender.pcap.gz', 'R-B2'],
  ['tcp/lan_loss/sender.pcap.gz', 'R-B1'],
  ['tcp/lan_loss/receiver.pcap.gz', 'R-B1'],
  ['tcp/wan_burstq/sender.pcap.gz', 'R-B1'],
  ['tcp/wan_burstq/receiver.pcap.gz', 'R-B1'],
  ['tcp/rwnd_wan/sender.pcap.gz', 'R-B3'],
  ['tcp/rwnd_wan/receiver.pcap.gz', 'R-B3'],
  ['tcp/slow_rx/sender.pcap.gz', 'R-C3'], // reads 1.5 MB/s
  ['tcp/slow_rx/receiver.pcap.gz', 'R-C3'],
  ['tcp/dup/sender.pcap.gz', null],
  ['tcp/dup/receiver.pcap.gz', null],
  ['tcp/reorder_small/sender.pcap.gz', null],
  ['tcp/reorder_small/receiver.pcap.gz', null],
];

async function findingsIn(capture: string) {
  const log = new AnomalyLog();
  const source = await openFiles([sharedCapture(capture)], log);
  const analysis = new Analysis(log, {});
  for await (const batch of source.batches()) analysis.push(batch);
  return diagnose(reportFrom(analysis.finish(source.info), 'test'));
}

describeShared('verdicts on recordings', () => {
  const cases = EXPECTED.map(([capture, rule, explains = []]) => ({ capture, rule, explains }));
  test.each(cases)('$capture: $rule', { timeout: 60_000 }, async ({ capture, rule, explains }) => {
    const loud = (await findingsIn(capture)).filter((finding) => finding.severity !== 'info');
    if (rule === null) expect(loud.map((finding) => finding.text)).toEqual([]);
    else {
      expect(loud[0]?.rule).toBe(rule);
      expect(loud[0]?.confidence).toBeGreaterThanOrEqual(0.8);
      expect(loud[0]?.explains).toEqual(expect.arrayContaining([...explains]));
    }
  });

  test('loss is told apart by where it comes from', { timeout: 60_000 }, async () => {
    const queueFull = async (capture: string) =>
      (await findingsIn(capture)).find((finding) => finding.rule === 'R-B1')?.metrics['queueFull'];
    expect(await queueFull('wan-cubic-loss/src.pcap.gz')).toBe('no'); // 37 random drops, no tail drop
    expect(await queueFull('wan-cubic-tail/src.pcap.gz')).toBe('yes'); // 104 tail drops
    expect(await queueFull('wan-bbr-loss/src.pcap.gz')).toBe('yes'); // 2956 of 2983 are tail drops
  });
});
