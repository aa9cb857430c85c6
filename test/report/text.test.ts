import { describe, expect, test } from 'vitest';
import type { Anomaly, AnomalyCode } from '../../src/anomaly.js';
import { renderHtml } from '../../src/report/html.js';
import { modelMigration } from '../../src/report/models/index.js';
import { modelInput } from '../../src/report/models/model.js';
import type { ReportData } from '../../src/report/report.js';
import { renderText } from '../../src/report/text.js';
import { keyFigures, qualityOf, requestsText } from '../../src/report/verdict.js';
import { HOSTILE, reportData, reportWithoutMigration } from '../support/report-data.js';
import { limitShares } from '../support/tcp-direction.js';

const render = (report: ReportData, width = 80): string => renderText(report, { color: false, width });

const anomaly = (code: AnomalyCode, text: string): Anomaly => {
  const at = { frame: 14, tNs: 0 };
  return {
    code,
    text,
    direction: null,
    count: 1,
    first: at,
    last: at,
    samples: [at],
    severity: 'note',
    origin: 'capture',
  };
};

describe('what if', () => {
  const asked = (converges: boolean): string => {
    const report = reportData('lossy');
    report.migrations[0]!.models = {
      whatIf: {
        ...{ bandwidth: 6.25e6, downtimeLimitNs: 1e9, converges, rounds: converges ? 1 : 30 },
        ...{ migrationNs: converges ? 5.57e9 : null, downtimeNs: converges ? 277e6 : null },
      },
    };
    return renderText(report, { color: false, width: 200 }).replace(/\s+/g, ' ');
  };

  test('the world that was asked for is answered in the summary', () => {
    expect(asked(true)).toContain(
      'At 50.0 Mbit/s and a downtime limit of 1.00 s it would have taken 5.57 s in 1 round, with the guest paused for 277 ms.',
    );
    expect(asked(false)).toContain(
      'At 50.0 Mbit/s and a downtime limit of 1.00 s it would not have finished by itself, either.',
    );
  });

  test('who asked nothing is answered nothing', () => {
    expect(renderText(reportData('lossy'), { color: false, width: 200 })).not.toContain('What if');
  });
});

describe('terminal summary', () => {
  test('answers in order: what happened, how fast, what stood in the way, what is wrong with the capture', () => {
    const text = render(reportData('lossy'));
    const order = ['INCOMPLETE', 'How fast', 'What stood in the way', 'What is wrong with the capture'];
    const at = order.map((part) => text.indexOf(part));
    expect(at).not.toContain(-1);
    expect(at).toEqual([...at].sort((a, b) => a - b));
  });

  test('a completed run names total, rounds and pause in its first sentence', () => {
    expect(render(reportData('healthy'))).toContain(
      'Completed in 591 ms in 2 rounds. The guest was paused for about 47.6 ms.',
    );
  });

  test('a pause that is not sure is called so, and what the wire allows stays beside it', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const downtime = { ...migration!.downtime!, confidence: 0.3 };
    const text = render({ ...report, migrations: [{ ...migration!, downtime }] });
    expect(text).toContain('The guest was paused for perhaps 47.6 ms.');
    expect(text).toMatch(/the wire alone allows/);
  });

  test('a pause of which nothing but the longest is known is not said to be at least nothing', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const { endNs } = migration!.downtime!;
    const downtime = { ...migration!.downtime!, estimateNs: 0, latestStartNs: endNs, earliestStartNs: endNs - 354e6 };
    const known = { ...report, migrations: [{ ...migration!, downtime }] };
    expect(render(known)).toContain('The guest was paused for at most 354 ms.');
    expect(keyFigures(known, known.migrations[0]!)).toContainEqual(
      expect.objectContaining({ label: 'Downtime', value: '≤ 354 ms' }),
    );
  });

  test('what a run that was joined midway adds up to is a lower bound', () => {
    const report = reportData('recovered');
    report.migrations[0]!.rounds[0]!.boundary = 'joined-midway';
    const text = render(report);
    expect(text.replace(/\s+/g, ' ')).toContain(
      'Completed after at least 1.84 s in at least 4 rounds; its beginning is not in the capture.',
    );
    expect(text.replace(/\s+/g, ' ')).toMatch(/The last whole round sent .* of the first whole one in the capture\./);
    expect(keyFigures(report, report.migrations[0]!).filter(({ value }) => value.startsWith('≥'))).toMatchObject([
      { label: 'Total time', note: 'its beginning is not in the capture' },
      { label: 'Rounds' },
      { label: 'Data sent' },
    ]);
  });

  test('figures of a run whose end is not in the capture are lower bounds', () => {
    const report = reportData('lossy');
    expect(keyFigures(report, report.migrations[0]!)[0]).toEqual({
      label: 'Total time',
      value: '≥ 19.4 s',
      note: 'its end is not in the capture',
    });
  });

  test('rounds and pages that were reckoned are called so', () => {
    const report = reportData('recovered');
    const migration = report.migrations[0]!;
    for (const round of migration.rounds) round.confidence = 0.6;
    migration.stream = { ...migration.stream, features: ['rounds-inferred'] };
    const text = render(report);
    expect(text).toContain('in what look like 4 rounds');
    expect(text).toMatch(/: about [\d,]+ full/);
  });

  test('requests of post-copy are not said to be none where the destination is not in the capture', () => {
    const report = reportData('healthy');
    const migration = report.migrations[0]!;
    const postcopy = { startNs: 0, endNs: 1e9, requests: 0, pages: 844, pagesUnderway: null, requestLatencyNs: null };
    const said = (returnPath: Record<string, number>) =>
      render({ ...report, migrations: [{ ...migration, postcopy, returnPath }] });
    expect(said({})).toContain('Post-copy: 844 pages; page requests are not in the capture.');
    expect(said({ SHUT: 1 })).toContain('Post-copy: 844 pages; 0 page requests.');
  });

  test('of a downtime that is a bound no model is said to be off by so much', async () => {
    const report = reportData('recovered');
    const [migration] = report.migrations;
    const about = modelInput(report, migration!, 0.3);
    const { endNs, estimateNs } = migration!.downtime!;
    migration!.downtime = { ...migration!.downtime!, latestStartNs: endNs - estimateNs, earliestStartNs: endNs - 1e9 };
    expect(about.downtimeSeconds).toBeCloseTo(estimateNs / 1e9, 9);
    expect(modelInput(report, migration!, 0.3).downtimeSeconds).toBeNull();
    migration!.models = modelMigration(report, migration!);
    expect(await renderHtml(report)).toMatch(/<b>measured<\/b>.{0,300}≥ 35\.6.ms/s);
  });

  test('frames that were cut are no part of a capture with nothing wrong', () => {
    const report = reportData('healthy');
    report.anomalies = [];
    expect(qualityOf(report).headline).toBe('Nothing is wrong with the capture.');
    const cut = { ...report.findings[0]!, rule: 'R-J3', severity: 'info' as const, migration: null };
    expect(qualityOf({ ...report, findings: [cut] })).toMatchObject({
      tone: 'neutral',
      headline: 'Nothing is wrong with the capture but that its frames were cut.',
    });
  });

  test('a run that is cut off claims no downtime', () => {
    const text = render(reportData('lossy'));
    expect(text).toContain('Not finished when the capture ends');
    expect(text).not.toMatch(/paused|The pause/);
  });

  test('a run whose end was hidden is not said to go on', () => {
    const report = reportData('lossy');
    const closed = report.connections.map((connection) => ({ ...connection, endedBy: 'fin' as const }));
    expect(render({ ...report, connections: closed })).toContain('whether it completed cannot be told');
  });

  test('zero pages that cannot be seen are none of a round’s figures either', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const unseen = { ...migration!, pages: { ...migration!.pages, zero: null } };
    const text = render({ ...report, migrations: [unseen] });
    expect(text).toContain('zero pages not visible');
    expect(text).toMatch(/^ {2}1 .* 7,951 +–$/m);
  });

  test('a run that broke off in the pause says how long the guest stood still', () => {
    const report = reportData('healthy');
    const failed = { ...report.migrations[0]!, outcome: 'failed' as const };
    expect(render({ ...report, migrations: [failed] }, 110)).toMatch(
      /The guest was paused for about [\d.]+ ms, estimated from /,
    );
  });

  test.each([
    [{ samples: 2, min: 48.9e6, p50: 76.9e6, p95: 76.9e6, p99: 76.9e6, max: 76.9e6 }, '2 waited 48.9 ms to 76.9 ms'],
    [{ samples: 1, min: 5e6, p50: 5e6, p95: 5e6, p99: 5e6, max: 5e6 }, '1 waited 5.00 ms'],
    [
      { samples: 11, min: 1e6, p50: 3.87e6, p95: 158e6, p99: 158e6, max: 158e6 },
      '11 were answered in 3.87 ms (median; worst 158 ms)',
    ],
    [
      { samples: 500, min: 1e6, p50: 3e6, p95: 5e6, p99: 9e6, max: 20e6 },
      '500 were answered in 3.00 ms (median; p99 9.00 ms, worst 20.0 ms)',
    ],
  ])('waits for pages are told by how many there were: %o', (requestLatencyNs, waits) => {
    const { samples } = requestLatencyNs;
    const postcopy = {
      startNs: 0,
      endNs: 1,
      requests: 1827 + samples,
      pages: 1,
      pagesUnderway: 1827,
      requestLatencyNs,
    };
    expect(requestsText(postcopy, { SHUT: 1 })).toBe(
      `${(1827 + samples).toLocaleString('en')} page requests, 1,827 of them for pages on their way already; ${waits}`,
    );
  });

  test('a pass that found nothing is not the last round that rounds are compared by', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const { rounds } = migration!;
    const last = rounds.at(-1)!;
    const shown = render({
      ...report,
      migrations: [{ ...migration!, rounds: [...rounds, last, { ...last, bytes: 0 }] }],
    });
    expect(shown).toContain('The last whole round sent');
    expect(shown).not.toContain('sent 0 B');
  });

  test('a sender that is paced before it is captured is not left as one without data', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const shares = limitShares({ 'sender-application': 1 });
    const connections = report.connections.map((connection) => {
      const [out, back] = connection.directions;
      return { ...connection, directions: [{ ...out, limitedBy: shares }, back] as typeof connection.directions };
    });
    const text = (rule: string): string => {
      const findings = [
        {
          ...reportData('lossy').findings[0]!,
          ...{ rule, severity: 'info' as const, migration: migration!.id },
        },
      ];
      return render({ ...report, connections, findings }, 110);
    };
    expect(text('R-A6')).toContain('sender without data 100 %; its line or a queue before it sets the pace (R-A6).');
    expect(text('R-C6')).toContain('sender without data 100 %.');
  });

  test('each round is a row with what was sent and what was dirtied meanwhile', () => {
    expect(render(reportData('healthy'))).toMatch(
      /^ {2}1 +0\.0210 s +536 ms +32\.7 MB +488 Mbit\/s +2\.41 MB +7,951 +4,390$/m,
    );
  });

  test('a round of a single instant has no rate', () => {
    const report = reportData('healthy');
    const [migration] = report.migrations;
    const [first, last] = migration!.rounds;
    const instant = { ...last!, startNs: last!.endNs, goodput: 0 };
    const text = render({ ...report, migrations: [{ ...migration!, rounds: [first!, instant] }] });
    expect(text).toMatch(/^ {2}2 +0\.\d+ s +0 s +[\d.]+ MB +– /m);
  });

  test('what QEMU counts otherwise is said once for all migrations, behind what matters', () => {
    const report = reportData('healthy');
    const [first] = report.migrations;
    const rules = [{ figure: 'rounds' as const, text: 'dirty-sync-count says something else.' }];
    const both = [0, 1].map((id) => ({ ...first!, id, countingRules: rules }));
    const text = render({ ...report, migrations: both });
    expect(text.match(/dirty-sync-count/g)).toHaveLength(1);
    expect(text.indexOf('· rounds: dirty-sync-count')).toBeGreaterThan(text.lastIndexOf('What stood in the way'));
    expect(render(reportWithoutMigration())).not.toContain('query-migrate');
  });

  test.each([40, 57, 80])('at %i columns no figure is parted from its unit', (width) => {
    const text = render(reportData('lossy'), width);
    expect(text).not.toMatch(/\d\n +(?:%|ms|s|MB|Mbit\/s)(?![\p{L}])/u);
    expect(text).not.toContain('\u00a0');
  });

  test('a proof of one instant names it once', () => {
    const report = reportData('lossy');
    report.findings[0] = { ...report.findings[0]!, interval: [[2_716_000_000, 2_716_000_400]] };
    expect(render(report)).toContain('Proof: 2.716 s; frames');
  });

  test('a closed tunnel that may hold the migration is pointed at where none was found', () => {
    const report = reportWithoutMigration();
    const { findings } = reportData('lossy');
    report.findings = [{ ...findings[0]!, rule: 'R-C7', severity: 'info', migration: null }];
    expect(render(report, 110)).toContain('What stays closed may hold one: see R-C7.');
    report.findings = [];
    expect(render(report)).not.toContain('R-C7');
  });

  test('what a note about the capture says is not said again as an anomaly', () => {
    const report = reportData('healthy');
    report.capture.inputs[0] = { ...report.capture.inputs[0]!, frames: 946, cutFrames: 492, snapLength: 128 };
    report.anomalies = [
      anomaly('capture/frames-cut', 'Frames are cut.'),
      anomaly('decode/malformed', 'Frames are malformed.'),
    ];
    report.findings = [];
    expect(render(report)).toContain('492 of 946 frames are cut by the snap length (128 bytes).');
    expect(render(report)).toContain('Frames are cut.');
    const { findings } = reportData('lossy');
    report.findings = [{ ...findings[0]!, rule: 'R-J3', severity: 'info', migration: null, text: 'Noted: cut.' }];
    const text = render(report);
    expect(text).toContain('Noted: cut. [R-J3]');
    expect(text).not.toMatch(/492 of 946|Frames are cut/);
    expect(text).toContain('Frames are malformed.');
  });

  test('many rounds are shortened in the middle; the first and the last stay', () => {
    const text = render(reportData('long'));
    expect(text).toMatch(/^ {2}1 /m);
    expect(text).toMatch(/… +10 more/);
    expect(text).toMatch(/^ {2}25 /m);
  });

  test('findings come with proof, confidence and the first advice', () => {
    const text = render(reportData('lossy'));
    expect(text).toContain('1. Random packet loss keeps the congestion window small');
    expect(text).toMatch(/Proof: 9\.\d+ s to 10\.\d+ s and 1 more; frames 1204, 1377, 2210/);
    expect(text).toContain('→ Find the lossy link');
    expect(text).toContain('     Hence: The guest dirties memory as fast as it is sent');
    expect(text).not.toContain('  2. ');
  });

  test('what a tunnel costs is stated', () => {
    const report = reportData('healthy');
    const columns = {
      encapsulation: ['vxlan:42'],
      frames: [1000],
      innerIpBytes: [33_000_000],
      outerIpBytes: [33_050_000],
      innerMaxBytes: [64_000],
      outerMaxBytes: [64_050],
      fragmentedFrames: [7],
    };
    report.tables['tunnels'] = {
      rows: 1,
      columns: Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, { unit: '', values }])),
    };
    report.connections[0]!.options.mss = [1410, 1460];
    expect(render(report).replace(/\s+/g, ' ')).toContain(
      'Tunnel vxlan:42 adds 50 B to every packet, 3.4 % of a full one; 7 packets had to be fragmented for it.',
    );
    Object.assign(report.tables['tunnels'].columns['innerIpBytes']!, { values: [1000] });
    expect(render(report)).not.toContain('Tunnel vxlan');
  });

  test('several migrations are told apart by number', () => {
    const report = reportData('healthy');
    const [first] = report.migrations;
    report.migrations = [first!, { ...first!, id: 1, outcome: 'cancelled' }];
    const text = render(report);
    expect(text).toContain('Migration 0  COMPLETED');
    expect(text).toContain('Migration 1  CANCELLED');
  });

  test('a capture without a migration gets its TCP analysis', () => {
    const text = render(reportWithoutMigration());
    expect(text).toContain('NO MIGRATION FOUND');
    expect(text).toContain('0: 10.77.0.1:41148 → 10.77.0.2:49152');
    expect(text).toMatch(/0: +39\.0 MB .*170 Mbit\/s +22\.1 ms +0\.12 % +congestion window 62 %/);
  });

  test('a capture with nothing in it says so', () => {
    const report = reportWithoutMigration();
    report.connections = [];
    expect(render(report)).toContain('The capture holds neither a TCP connection nor a UDP flow.');
  });

  test.each([40, 80, 110])('no line is longer than %d columns', (width) => {
    const report = reportData('lossy');
    report.capture.inputs[0]!.name = 'a-very-long-file-name-without-any-space'.repeat(3);
    const lines = render(report, width).split('\n');
    expect(lines.filter((line) => line.length > width && !line.includes(' → '))).toEqual([]);
  });

  test('colour is there only when asked for', () => {
    const report = reportData('lossy');
    expect(render(report)).not.toContain('\u001b');
    expect(renderText(report, { color: true, width: 80 })).toContain('\u001b[31m');
  });

  test('names from the wire can neither move the cursor nor turn the text around', () => {
    const report = reportData('lossy');
    const [migration] = report.migrations;
    migration!.source = HOSTILE.escape;
    migration!.stream.machineType = HOSTILE.bidi;
    report.capture.inputs[0]!.name = HOSTILE.null;
    report.findings = report.findings.map((finding) => ({ ...finding, text: HOSTILE.escape, advice: [HOSTILE.bidi] }));
    const text = render(report).replaceAll('\n', '');
    expect(text).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    expect(text).toContain('\\u{1b}[2J');
  });

  test('what is wrong with the capture is listed with how often and where', () => {
    const report = reportData('healthy');
    report.anomalies = [
      {
        code: 'tcp/acked-unseen',
        severity: 'warning',
        origin: 'capture',
        text: 'Bytes were acknowledged that the capture does not hold: the capture lost frames.',
        direction: 0,
        count: 17,
        first: { frame: 88 },
        last: { frame: 400 },
        samples: [],
      },
    ];
    const text = render(report).replace(/\s+/g, ' ');
    expect(text).toContain('The capture has gaps or limits that some figures depend on.');
    expect(text).toContain('(17 times, first at frame 88)');
  });
});
