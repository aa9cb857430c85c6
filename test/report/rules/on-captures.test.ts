// Every rule of groups A to E on a real capture on which it must speak, and on one that looks alike, on which it must not.
//
// `own` ones lie in test/recordings (how they were made: README.md there), `overUdp` ones with the decoders of their transports,
// `sample` ones in samples/, `shared` ones beside the project. And the verdict on every shared capture, whose cause is known: how each was set up stands in its truth file.
import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Finding, ReportData } from '../../../src/report/report.js';
import { type DiagnoseOptions, diagnose } from '../../../src/report/rules/engine.js';
import { RULES } from '../../../src/report/rules/index.js';
import { reportOn } from '../../support/analyze.js';
import { describeShared, haveShared, sharedCapture } from '../../support/shared.js';

interface Case {
  /** Capture files, read together. */
  readonly captures: readonly string[];
  /** What is wrong in it, or what it looks like. */
  readonly shows: string;
  readonly options?: DiagnoseOptions;
}

const own = (names: string, shows: string, options?: DiagnoseOptions): Case => ({
  captures: names.split(' + ').map((name) => `test/recordings/${name}.pcap.zst`),
  shows,
  ...(options ? { options } : {}),
});
const sample = (names: string, shows: string, options?: DiagnoseOptions): Case => ({
  captures: names.split(' + ').map((name) => `samples/${name}.pcap.gz`),
  shows,
  ...(options ? { options } : {}),
});
const shared = (path: string, shows: string, options?: DiagnoseOptions): Case => ({
  captures: [`shared/${path}.pcap.gz`],
  shows,
  ...(options ? { options } : {}),
});
const overUdp = (name: string, shows: string): Case => ({
  captures: [`test/decode/udp/recordings/${name}.pcap.gz`],
  shows,
});
const told = (rule: string, name: string, value: number): DiagnoseOptions => ({
  thresholds: { [rule]: { [name]: value } },
});

const TABLE: readonly (readonly [rule: string, speaks: Case, silent: Case])[] = [
  ['R-A1', shared('xbzrle-7.2/src', 'max-bandwidth 6 MB/s'), own('cpu-quota', '100 ms rhythm of a CPU quota')],
  [
    'R-A2',
    shared('xbzrle-7.2/src', '48 MB/s meant, 6 MB/s in force', told('R-A2', 'intendedRate', 48e6)),
    shared('xbzrle-7.2/src', '6 MB/s in force and meant', told('R-A2', 'intendedRate', 6e6)),
  ],
  ['R-A3', own('slow-start', '1 MiB/s, released after 3 s'), shared('xbzrle-7.2/src', 'a limit that stays')],
  [
    'R-A4',
    shared('precopy-7.2/src', 'shaped to 500 Mbit/s'),
    shared('rwnd-ipv6/src', 'as flat, but by the receive window'),
  ],
  ['R-A5', own('full-line', '100 Mbit/s line for 12 s'), own('multifd-line', 'the same line, but over in 4 s')],
  [
    'R-A6',
    own('multifd-line', '100 Mbit/s line'),
    shared('precopy-7.2/src', 'flat at 500 Mbit/s, no common line rate'),
  ],
  ['R-A7', own('two-guests', 'two guests leave together'), sample('multifd', 'one guest over five connections')],
  ['R-A8', own('multifd-line', 'four channels fill one line'), own('full-line', 'one connection fills it')],
  [
    'R-A4',
    own('policer', '2500 packets a second pass, the rest is dropped'),
    sample('wan-loss', 'random loss: the rate swings'),
  ],
  [
    'R-A8',
    own('two-links', 'three of four channels on one of two links'),
    own('sixteen-channels', 'all channels on one link'),
  ],
  [
    'R-B1',
    shared('tcp/lan_loss/sender', 'random loss'),
    shared('tcp/reorder_small/receiver', 'reordering without loss'),
  ],
  [
    'R-B2',
    shared('tcp/blackout/sender', 'the path goes dark for good'),
    shared('tcp/lan_loss/sender', 'losses repaired without a timer'),
  ],
  [
    'R-B3',
    shared('tcp/rwnd_wan/sender', 'small receive buffer'),
    shared('tcp/slow_rx/sender', 'slow reader: the window closes'),
  ],
  [
    'R-B4',
    shared('tcp/reorder_small/receiver', 'reordering'),
    shared('tcp/lan_loss/receiver', 'loss: late ones are copies'),
  ],
  [
    'R-B3b',
    own('send-buffer', 'never more than 128 KiB in the socket'),
    shared('tcp/rwnd_wan/sender', 'as flat, but at the receive window'),
  ],
  ['R-B5', own('black-hole', 'packets above 1300 B vanish'), own('small-mtu', 'a router says so: MTU discovered')],
  ['R-B5b', own('small-mtu', 'ICMP fragmentation needed'), own('black-hole', 'no ICMP')],
  ['R-B6', own('fragments', 'a router cuts every packet in two'), own('small-mtu', 'it says so instead')],
  ['R-B7', own('bufferbloat', '1 s of queue on a 2 ms path'), own('path-change', 'a longer path, no queue')],
  [
    'R-B8',
    own('restarts', 'bursts of 1 MB over 80 ms, idle between'),
    shared('tcp/app_slice/sender', 'pauses shorter than a timeout'),
  ],
  ['R-B9', own('path-change', 'rerouted after 2 s'), own('bufferbloat', 'round trip grows with the queue')],
  ['R-B9', own('longer-path', 'rerouted with as many hops'), own('timeout', 'one path, a slow one')],
  ['R-B10', own('few-options', 'no SACK, no window scaling'), own('plain', 'all options')],
  [
    'R-B11',
    own('probes', 'the reader stops for 4 s'),
    shared('tcp/slow_rx/receiver', 'window closes and opens without probes'),
  ],
  [
    'R-B12',
    overUdp('qemu-over-udt', '0.5 % random loss, 64 KiB of queue, 95 packets sent again'),
    sample('wan-loss', 'lost segments as well, but TCP’s'),
  ],
  ['R-C1b', sample('precopy', 'most pages are empty'), shared('precopy-7.2/src', 'half of them are')],
  [
    'R-C1',
    own('slow-thread', 'each send takes up to 12 ms longer'),
    own('timeout', 'as idle, but behind a 2 Mbit/s shaper'),
  ],
  [
    'R-C2',
    own('slow-cipher', 'each send of a TLS record takes up to 2.5 ms longer'),
    shared('tls-10.0/src', 'TLS at line rate'),
  ],
  ['R-C3', shared('tcp/slow_rx/sender', 'reads 1.5 MB/s'), shared('tcp/rwnd_wan/sender', 'small but steady window')],
  ['R-C4', own('through-ssh', '60 MB to port 22'), own('plain', 'bulk data to a migration port')],
  ['R-C5', own('cpu-quota', '6 ms CPU in every 100 ms'), shared('xbzrle-7.2/src', 'rate limit: equal bursts')],
  ['R-C6', sample('precopy', 'taken on a veth pair'), shared('wan-cubic-loss/src', 'checksums complete')],
  ['R-C7', own('wireguard', 'max-bandwidth inside a closed tunnel'), shared('vxlan-7.2/src', 'a tunnel that is open')],
  ['R-D1', own('slow-channels', 'each send takes up to 30 ms longer'), sample('multifd', 'channels behind a shaper')],
  ['R-D2', own('many-channels', '16 channels on 10 Mbit/s, 20 ms'), own('few-channels', '2 channels on the same path')],
  [
    'R-D2',
    own('two-channels + sixteen-channels', 'the same path with two channels and then with sixteen'),
    own('sixteen-channels', 'nothing to compare with, and few timeouts'),
  ],
  [
    'R-D3',
    own('one-bad-path', 'one of four channels loses 15 % of its frames'),
    own('slow-channels', 'all three are as slow'),
  ],
  [
    'R-D4',
    own('slow-channel', 'each send of one channel takes up to 40 ms longer'),
    own('slow-channels', 'the same on every channel, where none waits for another'),
  ],
  ['R-D5', own('compression-mismatch', 'zlib against none'), own('timeout', 'cancelled, one connection')],
  [
    'R-D6',
    sample('multifd + postcopy-preempt', 'one guest over four channels, the next over one'),
    sample('precopy + wan-loss', 'nobody used channels'),
  ],
  ['R-E1', shared('wan-cubic-loss/src', 'never converges'), shared('wan-cubic-tail/src', 'slow, but converges')],
  ['R-E2', shared('wan-cubic-loss/src', '1 s of memory left each time'), shared('rwnd-ipv6/src', 'converges in time')],
  [
    'R-E3',
    own('rate-dip', '100 Mbit/s, for 1.4 s only 30, when the first pass ends'),
    own('auto-converge', 'a real plateau'),
  ],
  ['R-E4', sample('precopy', '4 MiB are rewritten'), shared('precopy-5.2/src', 'little is sent again')],
  ['R-E5', own('xbzrle-misses', 'cache of 1 MiB, 6 MiB rewritten'), sample('xbzrle', 'the cache holds all')],
  ['R-E6', own('auto-converge', 'the guest is slowed step by step'), own('xbzrle-misses', 'a guest at full speed')],
  ['R-E7', own('timeout', 'cancelled after 20 s, 20 s per GiB'), own('xbzrle-misses', 'cancelled at some other time')],
  [
    'R-E8',
    own('auto-converge', 'round after round the same is left'),
    sample('wan-loss', 'as many rounds, each smaller'),
  ],
  ['R-E9', own('stopped', 'the source is stopped for 0.1 s every 0.85 s'), own('restarts', 'bursts 1.2 s apart')],
  [
    'R-E10',
    shared('precopy-7.2/src', 'hardly anything is sent again'),
    sample('xbzrle', 'most of the time in later rounds'),
  ],
];

const reports = new Map<string, Promise<ReportData>>();
/** Each set of captures is analysed once. */
function report({ captures }: Case): Promise<ReportData> {
  const key = captures.join(' ');
  const made =
    reports.get(key) ??
    reportOn(captures.map((path) => path.replace(/^shared\/(.*)$/, (_, at: string) => sharedCapture(at))));
  reports.set(key, made);
  return made;
}
const spoken = async (rule: string, on: Case): Promise<boolean> =>
  diagnose(await report(on), on.options).some((finding) => finding.rule === rule);
const absent = ({ captures }: Case): boolean => !haveShared && captures.some((path) => path.startsWith('shared/'));

test.each(TABLE.map(([rule, speaks, silent]) => ({ rule, speaks, silent })))(
  '$rule speaks on $speaks.captures and not on $silent.captures',
  { timeout: 60_000 },
  async ({ rule, speaks, silent }) => {
    if (!absent(speaks)) expect(await spoken(rule, speaks), speaks.shows).toBe(true);
    if (!absent(silent)) expect(await spoken(rule, silent), silent.shows).toBe(false);
  },
);

/** Capture, what is wrong in it by how it was set up, the rule that must come first, and rules it must be said to explain. */
const VERDICTS: readonly (readonly [
  capture: string,
  cause: string | null,
  rule: string | null,
  explains?: readonly string[],
])[] = [
  ['compress-7.2/src', null, null],
  ['headers-only-10.0/src', null, null],
  ['headers-only-precopy-7.2/src', null, null],
  ['multifd-10.0/src', null, null],
  ['multifd-zstd-11.1/src', null, null],
  ['postcopy-10.0/src', null, null],
  ['postcopy-7.2/src', null, null],
  ['precopy-5.2/src', null, null],
  ['precopy-7.2/dst', null, null],
  ['precopy-7.2/src', null, null],
  ['rwnd-ipv6/src', 'receive buffer of 64 KiB over 20 ms', 'R-B3', ['R-F1']],
  ['tls-10.0/src', null, null],
  ['tls-precopy-twin/src', null, null],
  ['vxlan-7.2/src', null, null],
  ['wan-bbr-loss/dst', 'BBR overruns the queue at its start: 2956 tail drops, one timeout', 'R-B1'],
  ['wan-bbr-loss/src', 'BBR overruns the queue at its start: 2956 tail drops, one timeout', 'R-B1'],
  ['wan-cubic-loss/dst', '0.1 % random loss over 20 ms, CUBIC', 'R-B1', ['R-E1', 'R-E2']],
  ['wan-cubic-loss/src', '0.1 % random loss over 20 ms, CUBIC', 'R-B1', ['R-E1', 'R-E2']],
  ['wan-cubic-tail/dst', '50 Mbit/s behind a queue of 96 KiB', 'R-B1'],
  ['wan-cubic-tail/src', '50 Mbit/s behind a queue of 96 KiB', 'R-B1'],
  ['xbzrle-7.2/src', 'max-bandwidth of 6 MB/s', 'R-A1'],
  ['tcp/app_slice/receiver', '500 kB every 100 ms', 'R-A1'],
  ['tcp/app_slice/sender', '500 kB every 100 ms', 'R-A1'],
  ['tcp/blackout/receiver', 'the path goes dark for good; at this end data just stop', null],
  ['tcp/blackout/sender', 'the path goes dark for good', 'R-B2'],
  ['tcp/dup/receiver', null, null],
  ['tcp/dup/sender', null, null],
  ['tcp/lan_loss/receiver', 'random loss', 'R-B1'],
  ['tcp/lan_loss/sender', 'random loss', 'R-B1'],
  ['tcp/reorder_small/receiver', null, null],
  ['tcp/reorder_small/sender', null, null],
  ['tcp/rwnd_wan/receiver', 'small receive buffer', 'R-B3'],
  ['tcp/rwnd_wan/sender', 'small receive buffer', 'R-B3'],
  ['tcp/slow_rx/receiver', 'the reader takes 1.5 MB/s', 'R-C3'],
  ['tcp/slow_rx/sender', 'the reader takes 1.5 MB/s', 'R-C3'],
  ['tcp/wan_burstq/receiver', 'a small queue overflows', 'R-B1'],
  ['tcp/wan_burstq/sender', 'a small queue overflows', 'R-B1'],
];

/** Findings that name something to act on, loudest first. */
const causes = async (capture: string): Promise<Finding[]> =>
  diagnose(await report(shared(capture, ''))).filter((finding) => finding.severity !== 'info');

describeShared('the verdict', () => {
  test('is known for every shared recording', () => {
    const all = readdirSync(sharedCapture(''), { recursive: true, encoding: 'utf8' }).filter((path) =>
      path.endsWith('.pcap.gz'),
    );
    expect(VERDICTS.map(([capture]) => `${capture}.pcap.gz`).sort()).toEqual(all.sort());
  });

  const cases = VERDICTS.map(([capture, , rule, explains = []]) => ({ capture, rule, explains }));
  test.each(cases)('on $capture is $rule', { timeout: 60_000 }, async ({ capture, rule, explains }) => {
    const found = await causes(capture);
    if (rule === null) expect(found.map((finding) => finding.text)).toEqual([]);
    else {
      expect(found[0]?.rule).toBe(rule);
      expect(found[0]?.confidence).toBeGreaterThanOrEqual(0.8);
      expect(found[0]?.explains).toEqual(expect.arrayContaining([...explains]));
    }
  });

  test('tells loss apart by where it comes from', { timeout: 60_000 }, async () => {
    const queueFull = async (capture: string) =>
      (await causes(capture)).find((finding) => finding.rule === 'R-B1')?.metrics['queueFull'];
    expect(await queueFull('wan-cubic-loss/src')).toBe('no'); // 37 random drops, no tail drop
    expect(await queueFull('wan-cubic-tail/src')).toBe('yes'); // 104 tail drops
    expect(await queueFull('wan-bbr-loss/src')).toBe('yes'); // 2956 of 2983 are tail drops
  });

  // `npx vitest run test/report/rules/on-captures.test.ts -u` renews the file.
  test('and the table are in docs/rules-on-captures.md', { timeout: 120_000 }, async () => {
    const names = (on: Case): string =>
      on.captures.map((path) => `\`${path.replace(/\.pcap\.\w+$/, '')}\``).join(' + ');
    const rules = TABLE.map(
      ([rule, speaks, silent]) => `| ${rule} | ${names(speaks)}: ${speaks.shows} | ${names(silent)}: ${silent.shows} |`,
    );
    const verdicts: string[] = [];
    for (const [capture, cause] of VERDICTS) {
      const [top, ...more] = await causes(capture);
      const rest = more.map((finding) => finding.rule).join(', ');
      verdicts.push(
        `| \`${capture}\` | ${cause ?? 'nothing'} | ${top ? `${top.rule} ${top.title}` : 'none'} | ${top?.confidence ?? ''} | ${rest} |`,
      );
    }
    await expect(`# Diagnosis on real captures

Written and held by \`test/report/rules/on-captures.test.ts\`. \`test/recordings\` and \`samples\` are in the repository with the commands
that made them; \`shared\` captures lie beside it.

## Verdicts

Expected cause, by how the recording was set up, against the findings above *info*: the first one, its confidence, and what follows it.

| shared capture | expected cause | top finding | confidence | further |
|---|---|---|---|---|
${verdicts.join('\n')}

## Rules of groups A to E

| rule | speaks on | is silent on its look-alike |
|---|---|---|
${rules.join('\n')}
`).toMatchFileSnapshot('../../../docs/rules-on-captures.md');
  });
});

const GROUPS = /^R-[A-E]\d/;

test('every rule of these groups is in the table', () => {
  const covered = [...new Set(TABLE.map(([rule]) => rule))];
  expect(covered.sort()).toEqual(
    RULES.map(({ id }) => id)
      .filter((id) => GROUPS.test(id))
      .sort(),
  );
});
