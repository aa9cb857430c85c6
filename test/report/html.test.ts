import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { renderHtml } from '../../src/report/html.js';
import { html, jsonForScript } from '../../src/report/markup.js';
import type { ReportData } from '../../src/report/report.js';
import { HOSTILE, reportData, reportWithoutMigration } from '../support/report-data.js';

const policyOf = (page: string): string =>
  /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)![1]!.replaceAll('&#39;', "'");
const scriptsOf = (page: string): string[] => [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((m) => m[1]!);
const dataOf = (page: string): { scenes: { id: string; charts: { id: string; spec: unknown }[]; data: object }[] } =>
  JSON.parse(/<script type="application\/json" id="page-data">([\s\S]*?)<\/script>/.exec(page)![1]!);
const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

const udpFlow = (id: number, wireBytes: number): ReportData['flows'][0] => {
  const direction = {
    frames: 50,
    wireBytes,
    payloadBytes: wireBytes,
    lostPackets: null,
    reorderedPackets: null,
    retransmittedPackets: null,
  };
  return {
    id,
    transport: 'quic',
    encapsulation: [],
    client: { address: '10.0.0.1', port: 4000 + id },
    server: { address: '10.0.0.2', port: 443 },
    firstFrame: 1,
    startNs: 0,
    endNs: 50e6,
    directions: [direction, { ...direction, wireBytes: 100, payloadBytes: 100 }],
    streams: [],
    facts: { version: 1 },
  };
};

describe('markup', () => {
  test('text is escaped, markup is kept, lists are joined, nothing vanishes as "null"', () => {
    const inner = html`<b>${'a & "b"'}</b>`;
    expect(html`<p title="${"it's"}">${inner}${['<x>', 1]}${null}${false}</p>`.markup).toBe(
      '<p title="it&#39;s"><b>a &amp; &quot;b&quot;</b>&lt;x&gt;1</p>',
    );
  });

  test('JSON in a script element cannot end it', () => {
    const { markup } = jsonForScript({ name: '</script><!--' });
    expect(markup).not.toContain('<');
    expect(JSON.parse(markup)).toEqual({ name: '</script><!--' });
  });
});

describe('page', () => {
  test('says why under the headline, each cause a link to its finding; a run without a cause has no such line', async () => {
    const page = await renderHtml(reportData('lossy'));
    const why = /<p class="why">(.*)<\/p>/.exec(page)![1]!;
    const links = [...why.matchAll(/href="#([^"]*)">([^<]*)</g)].map(([, id, title]) => [id, title]);
    expect(links.length).toBeGreaterThan(0);
    for (const [id, title] of links) expect(page).toMatch(new RegExp(`id="${id}"><h3>${title}</h3>`));
    expect(await renderHtml({ ...reportData('healthy'), findings: [] })).not.toContain('class="why"');
  });

  test('what follows from a cause stands inside it; without the cause it stands alone', async () => {
    const report = reportData('lossy');
    expect(await renderHtml(report)).toMatch(
      /<p class="hence">From this follows<\/p><ol class="findings"><li class="finding bad" id="[^"]+-2"><h3>cannot converge/,
    );
    const alone = await renderHtml({ ...report, findings: report.findings.slice(1) });
    expect(alone).not.toContain('class="hence"');
    expect(alone).toContain('<h3>cannot converge');
  });

  test('the same data gives the same bytes', async () => {
    expect(await renderHtml(reportData('lossy'))).toBe(await renderHtml(reportData('lossy')));
  });

  test('nothing but its own scripts and style may run, and nothing may be loaded', async () => {
    const page = await renderHtml(reportData('healthy'));
    const policy = policyOf(page);
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("'unsafe-inline'");
    const scripts = scriptsOf(page);
    expect(scripts).toHaveLength(2);
    for (const script of scripts) expect(policy).toContain(hash(script));
    expect(policy).toContain(hash(/<style>([\s\S]*?)<\/style>/.exec(page)![1]!));
    // Addresses in Vega's own text are namespaces and messages; what would load is an attribute.
    expect(page.replace(/<script>[\s\S]*?<\/script>/g, '')).not.toMatch(/(?:src|href)="?(?:https?:)?\/\//);
  });

  test('the runtime is there once, with the notices its licences ask for', async () => {
    const page = await renderHtml(reportData('healthy'));
    expect(page.match(/University of Washington Interactive Data Lab/g)).toHaveLength(1);
    expect(page).toMatch(/Copyright 2010-20\d\d Mike Bostock\n\nPermission to use/);
    expect(page).not.toContain('\\u{a}');
  });

  test('a complete run shows every chart but those that have nothing to say', async () => {
    const page = await renderHtml(reportData('healthy'));
    const [scene] = dataOf(page).scenes;
    expect(scene!.charts.map((chart) => chart.id)).toEqual([
      'overview',
      'ladder',
      'rounds-band',
      'rate',
      'limits-band',
      'window',
      'rtt',
      'remaining',
      'sequence',
      'switchover',
      'page-kinds',
      'heat-map',
    ]);
    expect(page).toContain('Losses, timeouts, reordering: No loss, timeout, reordering or closed window was seen.');
    expect(page).toContain('Channels: One connection carries the stream; there is nothing to balance.');
  });

  test('without tables the page still has verdict, findings and rounds, and says what is missing', async () => {
    const report = reportData('lossy');
    report.tables = {};
    const page = await renderHtml(report);
    expect(page).toContain('Not finished when the capture ends');
    expect(page).toContain('Random packet loss keeps the congestion window small');
    expect(page).toContain('Throughput and goodput: No timeline');
  });

  test('proof of a finding is a button that names the stretch and a filter for its frames', async () => {
    const page = await renderHtml(reportData('lossy'));
    expect(page).toMatch(/data-proof="m0" data-from="9\.\d+" data-to="10\.\d+"/);
    expect(page).toContain('data-copy="frame.number == 1204 || frame.number == 1377 || frame.number == 2210"');
  });

  test('a capture without a migration shows its largest connection', async () => {
    const page = await renderHtml(reportWithoutMigration());
    expect(page).toContain('No QEMU migration stream could be recognised');
    expect(dataOf(page).scenes.map((scene) => scene.id)).toEqual(['c0']);
  });

  test('a capture of UDP flows shows the rate of the heaviest on the wire', async () => {
    const report = reportWithoutMigration();
    report.connections = [];
    report.flows = [udpFlow(0, 1200), udpFlow(1, 5e6)];
    const bins = Array.from({ length: 50 }, (_, bin) => bin);
    const column = (unit: string, value: (bin: number) => number | null) => ({ unit, values: bins.map(value) });
    report.tables['udpTimeline'] = {
      rows: bins.length,
      columns: {
        flow: column('flow id', () => 1),
        startNs: column('ns', (bin) => bin * 1e6),
        durationNs: column('ns', () => 1e6),
        clientWireBytes: column('bytes', () => 100_000),
        serverWireBytes: column('bytes', () => 100),
        lostPackets: column('count', () => null),
        retransmittedPackets: column('count', () => null),
        rttMinNs: column('ns', (bin) => (bin === 7 ? 3e6 : null)),
      },
    };
    const page = await renderHtml(report);
    const [scene] = dataOf(page).scenes;
    expect(scene!.id).toBe('f1');
    expect(scene!.charts.map((chart) => chart.id)).toEqual(['overview', 'rate', 'rtt']);
    const { goodput, rttMax } = (scene!.data as { timeline: Record<string, (number | null)[]> }).timeline;
    expect(goodput!.slice(0, 50)).toEqual(bins.map(() => 8e8));
    expect(rttMax!.filter((value) => value !== null)).toEqual([0.003]);
  });

  test('captures of both hosts add a section, and the segments lost between them a lane', async () => {
    const report = reportData('lossy');
    const direction = {
      sentIn: 0,
      receivedIn: 0,
      sentFrames: 9000,
      sentBytes: 70e6,
      arrivedBytes: 69.9e6,
      lostBytes: 1448,
      uncapturedBytes: 0,
      unjudgedBytes: 0,
      duplicatedBytes: 0,
      delayVariationNs: null,
    };
    report.bothEnds = {
      source: 'captures/src.pcap',
      destination: 'captures/dst.pcap',
      clock: null,
      connections: [{ first: 0, second: 0, directions: [direction] }],
    };
    const column = (unit: string, value: number) => ({ unit, values: [value] });
    report.tables['losses'] = {
      rows: 1,
      columns: {
        direction: column('direction id', 0),
        frame: column('frame number', 77),
        tNs: column('ns', 1e9),
        offset: column('bytes', 5000),
        bytes: column('bytes', 1448),
        retransmission: column('flag', 0),
      },
    };
    const page = await renderHtml(report);
    expect(page).toContain('in captures/src.pcap, against what reached the destination, in captures/dst.pcap.');
    const { events } = dataOf(page).scenes[0]!.data as { events: Record<string, unknown[]> };
    expect(events['tip']!.at(-1)).toBe('lost between the hosts, frame 77, 1.45 kB');
  });

  test('hostile names stay text wherever they stand', async () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    migration!.ramBlocks[0]!.name = HOSTILE.markup;
    migration!.devices[0]!.name = HOSTILE.markup;
    migration!.stream.machineType = HOSTILE.markup;
    migration!.source = HOSTILE.markup;
    report.capture.inputs[0]!.name = HOSTILE.markup;
    report.capture.start = HOSTILE.markup;
    report.findings = reportData('lossy').findings.map((finding) => ({
      ...finding,
      text: HOSTILE.markup,
      title: HOSTILE.markup,
      rule: HOSTILE.markup,
      metrics: { [HOSTILE.markup]: HOSTILE.markup },
    }));
    const page = await renderHtml(report);
    expect(page).not.toContain('<img');
    expect(scriptsOf(page)).toHaveLength(2);
    expect(JSON.stringify(dataOf(page).scenes)).not.toContain('\u202e');
  });

  test('several migrations are listed first, each with its outcome and a link to its part', async () => {
    const report = reportData('healthy');
    const [first] = report.migrations;
    expect(await renderHtml(report)).not.toContain('id="migrations"');
    report.migrations = [first!, { ...first!, id: 1, port: 49153, outcome: 'failed' }];
    const page = await renderHtml(report);
    const list = page.slice(page.indexOf('id="migrations"'), page.indexOf('<article'));
    expect(list).toContain('2 migrations');
    expect(list).toMatch(/<a href="#m1">[^<]+:49153<\/a>.*failed/s);
    expect(page).toContain('Migration 1: ');
    expect(page).toContain('<a href="#migrations">Migrations</a>');
  });

  test('more of everything than any capture holds stays below 3 MB', async () => {
    const report = reportData('long');
    const long = 'n'.repeat(256);
    const [migration] = report.migrations;
    const [round] = migration!.rounds;
    const [device] = migration!.devices;
    const [finding] = reportData('lossy').findings;
    migration!.rounds = Array.from({ length: 10_000 }, (_, i) => ({ ...round!, index: i + 1 }));
    migration!.devices = Array.from({ length: 1000 }, () => ({ ...device!, name: long }));
    migration!.ramBlocks = Array.from({ length: 1000 }, () => ({ name: long, lengthBytes: 4096 }));
    report.migrations = Array.from({ length: 500 }, (_, id) => ({ ...migration!, id }));
    report.connections = Array.from({ length: 2000 }, (_, id) => ({ ...report.connections[id % 5]!, id }));
    report.flows = Array.from({ length: 500 }, (_, id) => udpFlow(id, 1e6));
    report.findings = Array.from({ length: 2000 }, (_, id) => ({ ...finding!, migration: id % 5 }));
    const page = await renderHtml(report);
    expect(page.length).toBeLessThan(3e6);
    expect(dataOf(page).scenes).toHaveLength(5);
  });
});
