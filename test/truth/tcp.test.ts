// TCP figures of real captures against what the sender's kernel, and the emulated path, said about the same run.
import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { FrameLog } from '../../src/decode/tcp/frame-log.js';
import { type PairedCapture, pair } from '../../src/decode/tcp/pairing.js';
import type { Vantage } from '../../src/decode/tcp/results.js';
import { cut } from '../support/conversation.js';
import { describeShared, haveShared, sharedCapture } from '../support/shared.js';
import { analyzeFile, analyzeFrames, bulk, framesOfFile } from '../support/tcp-analysis.js';

interface Kernel {
  readonly retransmitted: number;
  readonly fast: number;
  readonly timeouts: number;
  readonly probes: number;
  readonly goBack: number;
  readonly spurious: number;
  /** Seconds; null where the kernel gave none. */
  readonly windowLimited: number | null;
  readonly busy: number | null;
}

const folders = haveShared
  ? readdirSync(sharedCapture('.'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'tcp')
      .map((entry) => entry.name)
  : [];
const transfers = haveShared ? readdirSync(sharedCapture('tcp')) : [];
const has = (folder: string, file: string): boolean => readdirSync(sharedCapture(folder)).includes(file);

/** Counters of the sender's host. A capture that was cut off ends a moment before they were read. */
function kernelOf(folder: string): Kernel {
  const truth = JSON.parse(readFileSync(sharedCapture(`${folder}/truth.json`), 'utf8'));
  const counters = new Map<string, number>(
    [...String(truth.nstat.s).matchAll(/^(\S+)\s+(\d+)/gm)].map((m) => [m[1]!, Number(m[2])]),
  );
  const last = new Map<string, RegExpMatchArray>();
  for (const { ss } of truth.ss as { ss: string }[]) {
    for (const m of ss.matchAll(/(\S+:\d+) \S+:\d+\n\t(.*)/g)) last.set(m[1]!, m);
  }
  const info = [...last.values()].map((m) => m[2]!);
  const seconds = (name: string): number | null => {
    const values = info.map((line) => line.match(new RegExp(`${name}:(\\d+)ms`))).filter((m) => m !== null);
    return values.length === 0 ? null : Math.max(...values.map((m) => Number(m[1]) / 1000));
  };
  return {
    retransmitted: counters.get('TcpRetransSegs') ?? 0,
    fast: counters.get('TcpExtTCPFastRetrans') ?? 0,
    timeouts: counters.get('TcpExtTCPTimeouts') ?? 0,
    probes: counters.get('TcpExtTCPLossProbes') ?? 0,
    goBack: counters.get('TcpExtTCPSlowStartRetrans') ?? 0,
    spurious: counters.get('TcpExtTCPDSACKRecv') ?? 0,
    windowLimited: seconds('rwnd_limited'),
    busy: seconds('busy'),
  };
}

/** Where two hosts are 30 µs apart it cannot be told which of them recorded. */
const isRemote = (folder: string): boolean =>
  JSON.parse(readFileSync(sharedCapture(`${folder}/truth.json`), 'utf8')).options.link === 'wan';

const total = (
  connections: Awaited<ReturnType<typeof analyzeFile>>['results']['connections'],
  pick: (direction: (typeof connections)[number]['directions'][number]) => number,
): number => connections.reduce((sum, { directions }) => sum + pick(directions[0]), 0);

describeShared('migrations, captured at the source', () => {
  test.each(folders)('%s: retransmissions as the kernel counts them', async (folder) => {
    const { results } = await analyzeFile(sharedCapture(`${folder}/src.pcap.gz`));
    const kernel = kernelOf(folder);
    expect(total(results.connections, (d) => d.retransmittedSegments)).toBe(kernel.retransmitted);
    expect(total(results.connections, (d) => d.retransmissions.fast)).toBe(kernel.fast);
    expect(total(results.connections, (d) => d.retransmissions.timeout)).toBe(kernel.timeouts);
    expect(total(results.connections, (d) => d.retransmissions.other)).toBe(kernel.goBack);
    // A probe may also carry new data; then it is none of ours.
    expect(total(results.connections, (d) => d.retransmissions.tailLossProbe)).toBeLessThanOrEqual(kernel.probes);
    expect(total(results.connections, (d) => d.retransmissions.spurious)).toBe(kernel.spurious);
  });

  test.each(folders)('%s: nothing is said to be missing in a complete capture', async (folder) => {
    const { results } = await analyzeFile(sharedCapture(`${folder}/src.pcap.gz`));
    expect(total(results.connections, (d) => d.unseenBytes)).toBe(0);
    for (const { directions } of results.connections) {
      const shares = Object.values(directions[0].limitedBy ?? { none: 1 });
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 6);
    }
  });

  test.each(folders.filter((folder) => haveShared && isRemote(folder)))(
    '%s: vantage and window-limited time',
    async (folder) => {
      const analysis = await analyzeFile(sharedCapture(`${folder}/src.pcap.gz`));
      const { connection, direction } = bulk(analysis);
      expect(connection.vantage).toBe('source');
      const { windowLimited, busy } = kernelOf(folder);
      if (windowLimited !== null && busy !== null && windowLimited >= 0.1 * busy) {
        const seconds = (direction.lastDataNs! - direction.firstDataNs!) / 1e9;
        const ours = direction.limitedBy!['receiver-window'] * seconds;
        expect(Math.abs(ours / windowLimited - 1)).toBeLessThan(0.1);
      }
    },
  );
});

describeShared('migrations, captured at both hosts', () => {
  const pairs = folders.filter((folder) => haveShared && has(folder, 'dst.pcap.gz'));

  test.each(pairs)('%s: the destination tells what the source saw', async (folder) => {
    const near = bulk(await analyzeFile(sharedCapture(`${folder}/src.pcap.gz`)));
    const far = bulk(await analyzeFile(sharedCapture(`${folder}/dst.pcap.gz`)));
    const { retransmitted } = kernelOf(folder);
    expect(Math.abs(far.direction.retransmittedSegments - retransmitted)).toBeLessThanOrEqual(
      Math.max(2, 0.01 * retransmitted),
    );
    expect(Math.abs(far.direction.inFlight!.max / near.direction.inFlight!.max - 1)).toBeLessThan(0.05);
    if (isRemote(folder)) expect(far.connection.vantage).toBe('destination');
  });
});

/** A capture as one half of a pair. */
async function paired(path: string): Promise<PairedCapture> {
  const log = new FrameLog();
  const analysis = await analyzeFile(sharedCapture(path), { watch: (batch, rows) => log.push(batch, rows) });
  return { log, ...analysis, epochNs: null };
}

describeShared('two captures of one run', () => {
  const wan = folders.filter((folder) => haveShared && isRemote(folder) && has(folder, 'dst.pcap.gz'));

  test.each(wan)('%s: what was lost is what the path dropped', async (folder) => {
    const { link } = JSON.parse(readFileSync(sharedCapture(`${folder}/truth.json`), 'utf8'));
    const { losses } = pair(await paired(`${folder}/src.pcap.gz`), await paired(`${folder}/dst.pcap.gz`));
    expect(losses.rows).toBe(link.a_to_b.random_drops + link.a_to_b.tail_drops);
  });

  test.each(transfers)('%s: what was lost is what the path dropped', async (name) => {
    const { emu } = JSON.parse(readFileSync(sharedCapture(`tcp/${name}/result.json`), 'utf8'));
    const { losses } = pair(await paired(`tcp/${name}/sender.pcap.gz`), await paired(`tcp/${name}/receiver.pcap.gz`));
    expect(losses.rows).toBe(emu.drop + emu.qdrop);
  });
});

describeShared('bulk transfers over an emulated link', () => {
  const truthOf = (name: string) => {
    const result = JSON.parse(readFileSync(sharedCapture(`tcp/${name}/result.json`), 'utf8'));
    const fates = gunzipSync(readFileSync(sharedCapture(`tcp/${name}/truth.jsonl.gz`)))
      .toString()
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { len: number; fate: string });
    return { counters: result.nstatA as Record<string, number>, path: result.emu, info: result.tx?.final, fates };
  };

  test.each(transfers)('%s: counts and triggers at the sender', async (name) => {
    const { counters } = truthOf(name);
    const { direction } = bulk(await analyzeFile(sharedCapture(`tcp/${name}/sender.pcap.gz`)));
    expect(direction.retransmittedSegments).toBe(counters['TcpRetransSegs'] ?? 0);
    expect(direction.retransmissions.fast).toBe(counters['TcpExtTCPFastRetrans'] ?? 0);
    expect(direction.retransmissions.timeout).toBe(counters['TcpExtTCPTimeouts'] ?? 0);
    expect(direction.outOfOrderSegments).toBe(0);
    expect(direction.networkDuplicates).toBe(0);
  });

  test.each(transfers)('%s: what the path did, at the receiver', async (name) => {
    const { counters, path, fates } = truthOf(name);
    const { direction } = bulk(await analyzeFile(sharedCapture(`tcp/${name}/receiver.pcap.gz`)));
    const retransmitted = counters['TcpRetransSegs'] ?? 0;
    // A transfer that ended in an outage shows the receiver nothing of it.
    const endsInOutage = fates.slice(-20).every(({ fate }) => fate !== 'ok');
    if (!endsInOutage) {
      expect(Math.abs(direction.retransmittedSegments - retransmitted)).toBeLessThanOrEqual(
        Math.max(2, 0.01 * retransmitted),
      );
    }
    // A delayed packet that nothing overtook is not out of order.
    expect(Math.abs(direction.outOfOrderSegments + direction.lateOriginals - path.reord)).toBeLessThanOrEqual(
      Math.max(1, 0.02 * path.reord),
    );
    expect(Math.abs(direction.networkDuplicates - path.dup)).toBeLessThanOrEqual(0.02 * path.dup);
  });

  test.each(transfers)('%s: both ends agree on vantage, flight and window', async (name) => {
    const { info } = truthOf(name);
    const near = bulk(await analyzeFile(sharedCapture(`tcp/${name}/sender.pcap.gz`)));
    const far = bulk(await analyzeFile(sharedCapture(`tcp/${name}/receiver.pcap.gz`)));
    expect([near.connection.vantage, far.connection.vantage]).toEqual(['source', 'destination']);
    expect(Math.abs(far.direction.inFlight!.max / near.direction.inFlight!.max - 1)).toBeLessThan(0.05);
    if (info && info.rwnd_limited >= 0.1 * info.busy_time) {
      for (const { direction } of [near, far]) {
        const ns = direction.limitedBy!['receiver-window'] * (direction.lastDataNs! - direction.firstDataNs!);
        expect(Math.abs(ns / 1000 / info.rwnd_limited - 1)).toBeLessThan(0.1);
      }
    }
  });

  test.each(transfers.flatMap((name) => ['sender', 'receiver'].map((end) => [name, end] as const)))(
    '%s, %s: vantage without handshake and from headers alone',
    async (name, end) => {
      const frames = await framesOfFile(sharedCapture(`tcp/${name}/${end}.pcap.gz`));
      const expected: Vantage = end === 'sender' ? 'source' : 'destination';
      const client = bulk(analyzeFrames(frames, { linkType: 101 }));
      expect(client.connection.vantage).toBe(expected);
      const sides = {
        source: 'destination',
        destination: 'source',
        'mid-path': 'mid-path',
        unknown: 'unknown',
      } as const;
      const midway = bulk(analyzeFrames(frames.slice(10), { linkType: 101 }));
      expect(midway.side === 0 ? midway.connection.vantage : sides[midway.connection.vantage]).toBe(expected);
      const headers = bulk(analyzeFrames(cut(frames, 40), { linkType: 101 }));
      expect(headers.connection.vantage).toBe(expected);
      const bare = bulk(analyzeFrames(cut(frames.slice(10), 40), { linkType: 101 }));
      expect(bare.side === 0 ? bare.connection.vantage : sides[bare.connection.vantage]).toBe(expected);
    },
  );
});
