// Rules and models read results that other programs may have written or damaged: they must never throw, and never hand on
// a number that JSON cannot hold.
import { expect, test } from 'vitest';
import { modelMigration } from '../../../src/report/models/index.js';
import type { ReportData } from '../../../src/report/report.js';
import { diagnose, ruledOut } from '../../../src/report/rules/engine.js';
import { RULES } from '../../../src/report/rules/index.js';
import {
  altered,
  connection,
  direction,
  episodes,
  events,
  MS,
  migration,
  quantiles,
  report,
  rounds,
  S,
  signals,
  table,
  timeline,
} from './situation.js';

/** Something of everything. */
const rich = (): ReportData =>
  report({
    connections: [
      connection({
        directions: [
          direction({
            retransmittedSegments: 30,
            retransmittedBytes: 4e6,
            comb: { periodNs: 1e8, periods: 20, bytesPerPeriod: 1e6, bytesVariation: 0.02 },
          }),
          direction({ uniqueBytes: 1e4 }),
        ],
      }),
      connection({ id: 1, channel: { kind: 'multifd', index: 0, migration: 0 } }),
      connection({
        id: 2,
        channel: { kind: 'nbd', index: null, migration: null },
        server: { address: '10.0.0.2', port: 10_809 },
      }),
    ],
    migrations: [
      migration({
        connections: [0, 1],
        outcome: 'cancelled',
        rounds: rounds([5, 100_000], [1, 20_000], [1, 20_000], [1, 20_000], [1, 20_000], [1, 20_000], [0.5, 9000]),
        postcopy: {
          startNs: 9 * S,
          endNs: 10 * S,
          requests: 100,
          pages: 1000,
          requestLatencyNs: quantiles(1 * MS, 2 * MS, 90 * MS),
        },
      }),
    ],
    tables: {
      timeline: timeline(10 * MS, 900, (index) => ({
        bytes: index % 10 < 3 ? 1e6 : 0,
        row: { rttMaxNs: 1e6, windowMaxBytes: 1e6 },
      })),
      tcpEvents: events(
        ...[1, 2, 3, 4].map((at) => ({ kind: 'retransmission-timeout' as const, frame: at, tNs: at * S })),
      ),
      tcpEpisodes: episodes({ kind: 'timeout', firstFrame: 4, startNs: 3 * S, durationNs: 1 * S }),
      signals: signals(
        { kind: 'rarp-announcement', frame: 9, tNs: 9.9 * S, mac: 'a' },
        { kind: 'icmp-too-big', frame: 3, tNs: 1, about: '10.0.0.2', mtu: 1400 },
      ),
      pageRegions: table([{ migration: 0, block: 0, startPage: 0, pages: 512, round: 2, copies: 900_000 }]),
    },
  });

function judged(data: ReportData): void {
  const findings = diagnose(data);
  const models = data.migrations.map((one) => modelMigration(data, one, { bandwidth: 1e9 }));
  const text = JSON.stringify([findings, ruledOut(data, findings), models], (_, value: unknown) =>
    typeof value === 'number' && !Number.isFinite(value) ? 'not a number' : value,
  );
  expect(text).not.toContain('not a number');
  for (const finding of findings) expect(finding.interval.length + finding.packets.length).toBeGreaterThan(0);
}

/** Every leaf of a value with a setter, at any depth. */
function* leaves(value: unknown): Generator<{ readonly old: unknown; readonly set: (next: unknown) => void }> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, inner] of Object.entries(value)) {
    const parent = value as Record<string, unknown>;
    yield {
      old: inner,
      set: (next) => {
        parent[key] = next;
      },
    };
    yield* leaves(inner);
  }
}

test('a result with something of everything', () => judged(rich()));

const seed = 20_240_611;
test(`damaged results, seed ${seed}`, { timeout: 60_000 }, () => {
  let state = seed;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let turn = 0; turn < 120; turn++) {
    const data = structuredClone(rich());
    // Tables have thousands of cells; the rest is where rules reach in.
    const places = [
      ...leaves({ c: data.connections, m: data.migrations, i: data.capture, t: Object.values(data.tables).slice(1) }),
    ];
    for (let damage = 0; damage < 4; damage++) {
      const { old, set } = places[random(places.length)]!;
      if (typeof old === 'number') set([0, -1, 1e300, 2 ** 53, 0.5][random(5)]);
      else if (typeof old === 'string') set(['', 'x'.repeat(5000), '\u0000\u202e'][random(3)]);
      else if (Array.isArray(old) && old.length > 2) set([]);
    }
    judged(data);
  }
});

test('a thousand migrations take no thousand times a thousand steps', () => {
  const many = Array.from({ length: 1000 }, (_, id) => migration({ id, connections: [id] }));
  const data = report({
    migrations: many,
    connections: many.map(({ id }) => connection({ id, channel: { migration: id } })),
  });
  const startMs = performance.now();
  diagnose(data);
  expect(performance.now() - startMs).toBeLessThan(5000);
});

test('a hundred thousand rounds', () => {
  const data = altered(rich(), {
    migrations: [
      migration({
        outcome: 'incomplete',
        rounds: rounds(...Array.from({ length: 100_000 }, (_, at) => [1, 20_000 + (at % 7)] as const)),
      }),
    ],
  });
  judged(data);
});

test('names from the wire are cut, and rules have ids of the catalogue', () => {
  const long = 'x'.repeat(5000);
  const data = altered(rich(), {
    migrations: [
      migration({
        outcome: 'failed',
        devices: [{ name: long, instance: 0, version: 1, bytes: 1, startNs: 0, endNs: 1 }],
        ramBlocks: [{ name: long, lengthBytes: 1e9 }],
      }),
    ],
  });
  for (const finding of diagnose(data)) expect(finding.text.length).toBeLessThan(1500);
  for (const rule of RULES) expect(rule.id).toMatch(/^R-[A-L]\d+b?$/);
});
