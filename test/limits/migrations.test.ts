// Streams that look like migrations, more than anybody has.
import { expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { MIGRATION_STREAMS, MIGRATIONS } from '../../src/limits.js';
import { MigrationStreams } from '../../src/migration-stream/session.js';
import { stream } from '../support/migration-stream.js';

const HELLO = Uint8Array.from({ length: 64 }, (_, i) => [0x11, 0x22, 0x33, 0x44, 0, 0, 0, 1][i] ?? 0);
const MAIN = stream().header().build();
/** A ClientHello that names nobody, as QEMU's: one cipher suite, no session, no extension. */
const CLIENT_HELLO = Uint8Array.of(
  ...[22, 3, 1, 0, 47, 1, 0, 0, 43, 3, 3],
  ...new Array<number>(32).fill(7),
  ...[0, 0, 2, 0x13, 1, 1, 0, 0, 0],
);
const NBD_GREETING = new TextEncoder().encode('NBDMAGICIHAVEOPT\0\u0003');
const NBD_ANSWER = Uint8Array.of(0, 0, 0, 3);

interface Kind {
  /** From one host instead of each from its own. */
  readonly alike?: boolean;
  readonly over?: boolean;
  /** What the server says before. */
  readonly greeting?: Uint8Array;
}

/** As many connections that begin with `first`. */
function connections(count: number, first: Uint8Array, { alike = false, over = false, greeting }: Kind = {}) {
  const log = new AnomalyLog();
  const session = new MigrationStreams(log, {
    identity: (id) => ({
      client: { address: `source-${alike ? 0 : id}`, port: 40_000 },
      server: { address: 'destination', port: 4444 },
      startNs: 0,
    }),
  });
  for (let id = 0; id < count; id++) {
    if (greeting) session.claim(2 * id + 1, greeting, 0, greeting.length, true, id, id + 1);
    const reader = session.claim(2 * id, first, 0, first.length, true, id, id + 1);
    reader?.bytes(first, 0, first.length, 0, id, id + 1);
    if (over) reader?.end(first.length, 'fin', id, id + 1);
  }
  const limits = log.finish().filter(({ code }) => code === 'stream/limit').length;
  return { results: session.finish(), limited: limits > 0 };
}

test('MIGRATIONS: streams of further ones are left alone, and it is said', () => {
  const full = connections(MIGRATIONS, MAIN);
  expect([full.results.migrations.length, full.limited]).toEqual([MIGRATIONS, false]);
  const more = connections(MIGRATIONS + 5, MAIN);
  expect([more.results.migrations.length, more.limited]).toEqual([MIGRATIONS, true]);
});

test('MIGRATIONS: TLS connections that are over and were none make room, and stay named', () => {
  const open = connections(MIGRATIONS + 5, CLIENT_HELLO);
  expect([open.results.opaque.length, open.limited]).toEqual([MIGRATIONS, true]);
  const over = connections(3 * MIGRATIONS, CLIENT_HELLO, { over: true });
  expect([over.results.opaque.length, over.limited]).toEqual([3 * MIGRATIONS, false]);
});

test('MIGRATIONS: further disks are copied unseen', () => {
  const { results } = connections(MIGRATIONS + 5, NBD_ANSWER, { greeting: NBD_GREETING });
  expect(results.channels.length).toBe(MIGRATIONS);
});

test('MIGRATION_STREAMS: a migration has no more channels than that', () => {
  const channels = (count: number) => {
    const { results, limited } = connections(count, HELLO, { alike: true });
    return [results.migrations.length, results.channels.length, limited];
  };
  expect(channels(MIGRATION_STREAMS)).toEqual([1, MIGRATION_STREAMS, false]);
  expect(channels(MIGRATION_STREAMS + 5)).toEqual([1, MIGRATION_STREAMS, true]);
});

test('CONNECTIONS: whoever gets the id of a forgotten connection is not taken for a channel of its migration', () => {
  const session = new MigrationStreams(new AnomalyLog(), {
    identity: () => ({ client: { address: 'a', port: 1 }, server: { address: 'b', port: 4444 }, startNs: 0 }),
  });
  const reader = session.claim(0, MAIN, 0, MAIN.length, true, 0, 1);
  reader?.bytes(MAIN, 0, MAIN.length, 0, 0, 1);
  session.claim(2, CLIENT_HELLO, 0, CLIENT_HELLO.length, true, 1, 2);
  session.forget(0);
  session.forget(1);
  // As the analysis does: whoever has the ids now ended in its own way.
  const endings = [0, 1].map((id) => ({ id, endNs: 9, endedBy: 'rst' as const, closedFirstBy: 1 as const }));
  const { migrations, channels, opaque } = session.finish(endings);
  expect(migrations).toMatchObject([{ connections: [], outcome: 'incomplete' }]);
  expect([channels, opaque]).toEqual([[], []]);
});
