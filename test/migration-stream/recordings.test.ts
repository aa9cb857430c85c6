// Real migrations through proxies; how they were made, and what QEMU said, is in recordings/README.md.
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { analyzeFiles } from '../support/analyze.js';

const migrationsIn = async (name: string) => {
  const path = fileURLToPath(new URL(`recordings/${name}.pcap.zst`, import.meta.url));
  const { migration, anomalies } = await analyzeFiles([path]);
  expect(anomalies.filter(({ severity }) => severity !== 'note')).toEqual([]);
  return migration.migrations;
};

test('two guests at once through one SOCKS 5 proxy', async () => {
  const migrations = await migrationsIn('two-guests-through-socks5');
  expect(
    migrations.map(({ outcome, port, connections, pages, bytes, proxies }) => ({
      outcome,
      port,
      connections: connections.length,
      pages: [pages.normal, pages.zero],
      multifd: bytes.multifd,
      proxies,
    })),
  ).toEqual(
    [
      { port: 49_152, normal: 886, multifd: 3_691_008 },
      { port: 49_153, normal: 890, multifd: 3_707_392 },
    ].map(({ port, normal, multifd }) => ({
      outcome: 'completed',
      port: 3128,
      connections: 3,
      pages: [normal, 3342],
      multifd,
      proxies: [{ kind: 'socks5', from: null, to: `10.77.0.2:${port}` }],
    })),
  );
});

test('both legs of an HTTP proxy are one migration, seen twice', async () => {
  const [first, second, ...others] = await migrationsIn('both-legs-of-a-proxy');
  expect(others).toEqual([]);
  for (const leg of [first!, second!]) {
    expect(leg).toMatchObject({ outcome: 'completed', pages: { normal: 887, zero: 3345 }, returnPath: { shut: 1 } });
    expect(leg.stream.undecodedBytes).toBe(0);
    expect(leg.downtime!.method).toContain('what a relay before the capture held back is not in it');
  }
  expect(first).toMatchObject({ source: '10.77.0.1', proxies: [{ kind: 'http-connect', to: '10.77.0.2:49152' }] });
  expect(second).toMatchObject({ source: '10.77.0.2', port: 49_152, relayOf: 0 });
  expect(first).not.toHaveProperty('relayOf');
});
