import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { SEALED_CHANNELS, SEALED_OPENINGS, SEALED_SYNCS } from '../../src/limits.js';
import { compare } from '../../src/migration-stream/outcome.js';
import type { Migration } from '../../src/migration-stream/results.js';
import { SealedMigration } from '../../src/migration-stream/sealed.js';

const TAG = 17; // TLS 1.3: content type and tag
const FINISHED = 36;
const MAIN = 0;
const MS = 1e6;

/** Writes what QEMU writes, one record a millisecond. `answer` is the destination's. */
class Source {
  readonly migration = new SealedMigration(new AnomalyLog(), MAIN, 0);
  nowNs = 0;

  write(channel: number, ...contents: number[]): void {
    for (const bytes of contents) {
      this.nowNs += MS;
      this.migration.record(channel, 1, this.nowNs, bytes + TAG);
    }
  }

  answer(channel: number, contents: number): void {
    this.nowNs += MS;
    this.migration.reverseRecord(channel, 1, this.nowNs, contents + TAG);
  }

  /** Normal pages, each with the word before it; `zeros` zero pages before each. */
  pages(channel: number, count: number, zeros = 0): void {
    for (let i = 0; i < count; i++) this.write(channel, 9 * zeros + 8, 4096);
  }

  /** Opens a channel as QEMU does: the handshake's last message, then `hello`. */
  open(channel: number, ...hello: number[]): void {
    this.write(channel, FINISHED, ...hello);
  }

  figures(): ReturnType<SealedMigration['finish']> {
    return this.migration.finish();
  }
}

const source = (send: (source: Source) => void): Source => {
  const one = new Source();
  send(one);
  return one;
};

/** Device state and its description, as the main channel ends. */
const DEVICE_STATE = [16_384, 16_384, 16_384, 5000];
const HEADER = 1344;
const HELLO = 64;
const packet = (pages: number): number[] => [HEADER, ...Array<number>(pages).fill(4096)];

describe('one channel', () => {
  test('normal pages are counted, zero pages estimated', () => {
    const figures = source((qemu) => {
      qemu.write(MAIN, 120); // header, configuration, START
      qemu.pages(MAIN, 40, 3);
      qemu.write(MAIN, 8); // EOS
    }).figures();
    // What comes before the first page is header and block list.
    expect(figures.pages).toMatchObject({ normal: 40, zero: 39 * 3, distinct: null, resent: null });
    expect(figures.features).toContain('pages-from-record-lengths');
  });

  test('a stream that goes on after its pages came to device state', () => {
    const { migration } = source((qemu) => {
      qemu.pages(MAIN, 100, 2);
      qemu.write(MAIN, 8, 18, 4096); // EOS; footer, header of END, word; page
      qemu.pages(MAIN, 19);
      qemu.write(MAIN, 8, ...DEVICE_STATE);
    });
    const { rounds, downtime, phases } = migration.finish();
    expect(migration.complete).toBe(true);
    expect(rounds.map(({ pages }) => pages.normal)).toEqual([100, 20]);
    expect(rounds.every(({ confidence }) => confidence <= 0.5)).toBe(true);
    expect(phases.map(({ kind }) => kind)).toEqual(['setup', 'precopy', 'stop-and-copy', 'device-state']);
    expect(downtime?.method).toContain('inferred');
  });

  test('a capture that ends with the last answer ends no sooner than the downtime', () => {
    const { migration } = source((qemu) => {
      qemu.pages(MAIN, 100, 2);
      qemu.write(MAIN, 8, 18, 4096);
      qemu.pages(MAIN, 19);
      qemu.write(MAIN, 8, ...DEVICE_STATE);
      qemu.answer(MAIN, 8); // SHUT
    });
    const { downtime, phases } = migration.finish();
    expect(downtime?.method).toContain('last message of the destination');
    expect(phases.at(-1)!.endNs).toBe(downtime!.endNs);
  });

  describe('the guest stopped', () => {
    /** Sections of 65 pages, 10 of them; a silence; the final pass. */
    const migrated = (silenceMs: number) =>
      source((qemu) => {
        qemu.pages(MAIN, 65, 2);
        for (let section = 0; section < 10; section++) {
          qemu.write(MAIN, 8, 18, 4096);
          qemu.pages(MAIN, 64);
        }
        qemu.nowNs += silenceMs * MS;
        qemu.write(MAIN, 8, 18, 4096);
        qemu.pages(MAIN, 9);
        qemu.write(MAIN, 8, ...DEVICE_STATE);
        qemu.answer(MAIN, 8);
      });
    const flight = { p50: 0, max: 100_000 };

    test('so long before the final section left as bytes waited in the send buffer', () => {
      const { migration } = migrated(0);
      const waiting = migration.finish(flight).downtime!;
      const { estimateNs } = migrated(0).migration.finish().downtime!;
      expect(waiting.estimateNs).toBeGreaterThan(estimateNs + 20 * MS);
      expect(waiting.method).toContain('less the time in the send buffer');
      expect(waiting.earliestStartNs).toBeLessThanOrEqual(waiting.endNs - waiting.estimateNs);
    });

    test('before a pause at whose end a disk’s mirror ended', () => {
      const { migration, nowNs } = migrated(100);
      const markNs = nowNs - 26 * MS;
      const { estimateNs, method } = migration.finish(flight, [markNs - 5 * MS]).downtime!;
      const unknown = migrated(100).migration.finish(flight).downtime!;
      expect(estimateNs - unknown.estimateNs).toBeGreaterThan(100 * MS);
      expect(method).toContain('less a pause for a mirrored disk');
      expect(unknown.confidence).toBeLessThan(0.6);
    });
  });

  test('a stream that ends in pages did not', () => {
    const { migration } = source((qemu) => qemu.pages(MAIN, 100, 2));
    expect(migration.finish().downtime).toBeNull();
    expect(migration.complete).toBe(false);
  });

  test('other traffic inside TLS is no migration', () => {
    const { migration } = source((other) => other.write(MAIN, 517, 1200, 16_384, 4096, 300, 80));
    expect(migration.proven).toBe(false);
  });

  test('whole vectors are 32 pages each, and device state after the last section is none', () => {
    const vector = [...Array<number>(8).fill(16_384), 256];
    const { migration } = source((qemu) => {
      qemu.open(MAIN, 32, 9, 165);
      for (let i = 0; i < 10; i++) qemu.write(MAIN, ...vector);
      qemu.write(MAIN, 3 * 4104 + 8, 10); // three more pages and the EOS; footer and SWITCHOVER_START
      qemu.write(MAIN, ...vector, 2 * 4104 + 13, ...DEVICE_STATE);
    });
    const { pages, rounds } = migration.finish();
    expect(migration.complete).toBe(true);
    expect(pages).toMatchObject({ normal: 11 * 32 + 5, zero: null });
    expect(rounds.map((round) => round.pages.normal)).toEqual([323, 34]);
  });
});

describe('what the capture does not hold', () => {
  const sent = (): Source =>
    source((qemu) => {
      qemu.pages(MAIN, 1200, 2);
      qemu.write(MAIN, 8, 18, 4096);
      qemu.pages(MAIN, 19);
      qemu.write(MAIN, 8, ...DEVICE_STATE);
    });

  test('where it breaks off, what looks like device state may be zero pages, unless it was answered', () => {
    const open = sent();
    open.migration.breaksOff(MAIN);
    expect(open.figures().downtime).toBeNull();
    expect(open.migration.complete).toBe(false);
    const answered = sent();
    answered.answer(MAIN, 8);
    answered.migration.breaksOff(MAIN);
    answered.figures();
    expect(answered.migration.complete).toBe(true);
  });

  test('records that are missing around the stop make it uncertain, long before it they do not', () => {
    const method = (atMs: number): string => {
      const qemu = sent();
      qemu.answer(MAIN, 8);
      qemu.migration.unread(9000, atMs * MS);
      const { downtime, lostPages } = qemu.figures();
      expect(lostPages).toEqual({ atLeast: 0, atMost: 1000 });
      return downtime!.method;
    };
    // A send buffer of 4 MiB before the stop is not yet long before it.
    expect(method(20)).not.toContain('records around it could not be read');
    expect(method(2400)).toContain('records around it could not be read');
  });
});

describe('multifd', () => {
  const LANES = [2, 4] as const;
  const open = (qemu: Source): void => {
    qemu.open(MAIN, 32, 9);
    for (const lane of LANES) qemu.open(lane, HELLO);
    for (const lane of LANES) qemu.write(lane, HEADER); // SYNC
    qemu.write(MAIN, 165, 8); // block list and flush mark; EOS
  };
  /** A flush mark: a SYNC on every lane, then the word on main with what waited before it. */
  const flush = (qemu: Source, word: number): void => {
    for (const lane of LANES) qemu.write(lane, HEADER);
    qemu.write(MAIN, word);
  };
  const complete = (): Source =>
    source((qemu) => {
      open(qemu);
      qemu.write(2, ...packet(100));
      qemu.write(4, ...packet(60), HEADER); // a packet of zero pages only
      qemu.write(MAIN, 18);
      flush(qemu, 18); // end of the first pass
      qemu.write(MAIN, 8);
      qemu.write(2, ...packet(3)); // up to the end of memory
      flush(qemu, 18);
      qemu.write(4, ...packet(20));
      flush(qemu, 8); // nothing left
      qemu.write(MAIN, 8, 10); // EOS; footer and SWITCHOVER_START
      flush(qemu, 13);
      qemu.write(2, ...packet(7));
      flush(qemu, 8);
      qemu.write(MAIN, 8, ...DEVICE_STATE);
      qemu.answer(MAIN, 8);
    });

  test('each channel is known by what it carries', () => {
    expect([...complete().migration.roles]).toEqual([
      [MAIN, { kind: 'main', index: null, confidence: 0.9 }],
      [2, { kind: 'multifd', index: 0, confidence: 0.95 }],
      [4, { kind: 'multifd', index: 1, confidence: 0.95 }],
    ]);
  });

  test('pages between the SYNCs that all channels have in common are a pass', () => {
    const { rounds, pages, features, downtime } = complete().figures();
    expect(rounds.map((round) => [round.pages.normal, round.boundary])).toEqual([
      [160, 'first-pass'],
      [23, 'flush-mark'],
      [7, 'flush-mark'],
    ]);
    expect(rounds.every(({ startNs, endNs }, i) => startNs <= endNs && startNs >= (rounds[i - 1]?.endNs ?? 0))).toBe(
      true,
    );
    expect(pages).toMatchObject({ normal: 190, zero: null });
    expect(features).toEqual(expect.arrayContaining(['multifd', 'channel-roles-inferred', 'tls']));
    expect(downtime?.method).toContain('last section to last message of the destination');
    expect(downtime).toMatchObject({ earliestEndNs: downtime!.latestStartNs, latestEndNs: null });
    expect(downtime!.earliestEndNs).toBeLessThan(downtime!.endNs);
  });

  test('8.1 to 9.0: the last flush mark and EOS come as one, and the END header only behind its pages', () => {
    let stoppedNs = 0;
    const { rounds, downtime, pages } = source((qemu) => {
      qemu.open(MAIN, 32, 9);
      for (const lane of LANES) qemu.open(lane, HELLO, HEADER);
      qemu.write(MAIN, 173); // block list, flush mark and EOS
      qemu.write(2, ...packet(100));
      qemu.write(4, ...packet(60));
      flush(qemu, 18 + 9 * 1000); // the rest of memory is empty
      qemu.write(MAIN, 8);
      flush(qemu, 18);
      qemu.write(4, ...packet(20));
      flush(qemu, 8);
      qemu.write(MAIN, 8); // EOS
      stoppedNs = qemu.nowNs;
      qemu.write(2, ...packet(7));
      flush(qemu, 18); // footer, END and mark
      flush(qemu, 16);
      qemu.write(MAIN, ...DEVICE_STATE);
      qemu.answer(MAIN, 8);
    }).figures();
    expect(rounds.map((round) => [round.pages.normal, round.boundary])).toEqual([
      [160, 'first-pass'],
      [20, 'flush-mark'],
      [7, 'flush-mark'],
    ]);
    expect(pages.zero).toBe(1000);
    expect(downtime!.endNs - downtime!.estimateNs).toBe(stoppedNs);
    expect(downtime!.earliestStartNs).toBeLessThan(stoppedNs);
  });

  test('pages on the main channel after a switch to post-copy are no zero pages', () => {
    const { pages, features } = source((qemu) => {
      open(qemu);
      qemu.write(2, ...packet(40));
      flush(qemu, 18);
      qemu.write(MAIN, 8, 10, 46, 9, 9, 13_464); // EOS; SWITCHOVER_START; DISCARD; PING, PACKAGED; the package
      for (let i = 0; i < 9; i++) qemu.write(MAIN, 16_384, 16_384, 24, 8);
    }).figures();
    expect(features).toContain('postcopy');
    expect(pages.zero).toBeNull();
  });

  test('pages in records of 16 KiB, the header in the last one', () => {
    const figures = source((qemu) => {
      open(qemu);
      for (let i = 0; i < 4; i++) qemu.write(2, 16_384, 4096 + HEADER);
    }).figures();
    expect(figures.pages.normal).toBe(20);
  });

  test('where every section has a SYNC, zero pages on the main channel show the end of the first pass', () => {
    const section = (qemu: Source, zeroPages: number): void => {
      qemu.write(MAIN, 5);
      for (const lane of LANES) qemu.write(lane, HEADER);
      qemu.write(MAIN, 13 + 9 * zeroPages);
    };
    const { rounds, pages } = source((qemu) => {
      qemu.open(MAIN, 31, 9);
      for (const lane of LANES) qemu.open(lane, HELLO, HEADER);
      qemu.write(MAIN, 165);
      qemu.write(2, ...packet(50));
      section(qemu, 0);
      qemu.write(4, ...packet(30));
      section(qemu, 1000); // the rest of memory is empty
      qemu.write(2, ...packet(10));
      section(qemu, 0);
      qemu.write(4, ...packet(5));
      section(qemu, 0); // END
      qemu.write(MAIN, ...DEVICE_STATE);
    }).figures();
    expect(rounds.map((round) => round.pages.normal)).toEqual([80, 10, 5]);
    expect(pages.zero).toBeGreaterThanOrEqual(998);
    expect(pages.zero).toBeLessThanOrEqual(1000);
  });

  test('compressed packets do not show how many pages they hold: at most 128, and no more bytes than there are', () => {
    const { pages, features, ramRecordBytes } = source((qemu) => {
      open(qemu);
      for (let i = 0; i < 10; i++) qemu.write(2, HEADER, 700 + i);
    }).figures();
    expect(features).toContain('multifd-compression');
    expect(pages.normal).toBe(1280);
    expect(ramRecordBytes).toBeGreaterThanOrEqual(7045);
    expect(ramRecordBytes).toBeLessThan(7045 + 13 * HEADER); // two lanes greet and end a pass
  });

  test('a channel that lacks SYNCs leaves the passes undivided', () => {
    const { rounds } = source((qemu) => {
      open(qemu);
      qemu.write(2, ...packet(40));
      for (let i = 0; i < 4; i++) {
        qemu.write(2, HEADER, HEADER); // lane 4 has none of these
        qemu.write(MAIN, 18, 8);
      }
      qemu.write(4, ...packet(9));
    }).figures();
    expect(rounds.map((round) => round.pages.normal)).toEqual([49]);
  });

  test('SEALED_SYNCS: rounds further back are not told apart', () => {
    const pagesOfRounds = (syncs: number): number[] =>
      source((qemu) => {
        open(qemu);
        qemu.write(2, ...packet(40));
        flush(qemu, 8);
        flush(qemu, 8);
        qemu.write(2, ...packet(20));
        for (let i = 2; i < syncs; i++) flush(qemu, 8);
      })
        .figures()
        .rounds.map(({ pages }) => pages.normal);
    expect(pagesOfRounds(SEALED_SYNCS)).toEqual([40, 20]); // one more at the opening: the boundary is the oldest kept
    expect(pagesOfRounds(SEALED_SYNCS + 1)).toEqual([60]);
  });
});

describe('post-copy', () => {
  const PREEMPT = 2;
  const postcopy = (): Source =>
    source((qemu) => {
      qemu.open(MAIN, 32, 9, 21, 165);
      qemu.pages(MAIN, 50);
      qemu.write(MAIN, 8, 10, 46, 9, 9, 13_464); // EOS; SWITCHOVER_START; DISCARD; PING, PACKAGED; the package
      qemu.answer(MAIN, 8);
      qemu.open(PREEMPT);
      qemu.answer(MAIN, 23); // REQ_PAGES_ID
      qemu.answer(MAIN, 16); // REQ_PAGES
      qemu.write(PREEMPT, 15, 4096);
      qemu.pages(MAIN, 30);
      qemu.write(MAIN, 8, 6);
      qemu.answer(MAIN, 8); // SHUT
    });

  test('page requests are counted, and pages after the switch', () => {
    const { migration } = postcopy();
    const figures = migration.finish();
    expect(migration.complete).toBe(true);
    expect(figures.postcopy).toMatchObject({ requests: 2, pages: 31, pagesUnderway: null, requestLatencyNs: null });
    expect(figures.rounds.map(({ boundary }) => boundary)).toEqual(['first-pass', 'post-copy']);
    expect(figures.pages.zero).toBe(3); // the DISCARD's bytes; the package's are not taken for zero pages
    expect(figures.returnPath).toEqual({ 'short-message': 2, 'page-request': 2 });
    expect(figures.downtime?.method).toContain('before it asked for pages');
  });

  test('the channel beside main is the preempt channel', () => {
    expect(postcopy().migration.roles.get(PREEMPT)).toEqual({ kind: 'preempt', index: null, confidence: 0.9 });
  });

  test('without a post-copy a silent channel is hardly told from a health check', () => {
    const { migration } = source((qemu) => {
      qemu.open(PREEMPT);
      qemu.open(MAIN, 32);
      qemu.pages(MAIN, 20);
    });
    expect(migration.roles.get(PREEMPT)).toMatchObject({ kind: 'preempt', confidence: 0.5 });
    expect(migration.finish().features).not.toContain('preempt');
  });
});

describe('damage', () => {
  test('figures agree and time goes forward when the main channel of a multifd migration is missing', () => {
    const { pages, rounds, phases, downtime } = source((qemu) => {
      for (let i = 0; i < 6; i++) qemu.open(2, HELLO, ...packet(10), HEADER, HEADER);
    }).figures();
    expect(rounds.reduce((sum, round) => sum + round.pages.normal, 0)).toBe(pages.normal);
    expect(phases.every(({ startNs, endNs }) => startNs <= endNs)).toBe(true);
    expect(downtime).toBeNull();
  });

  test('device state without any section before it tells no stop', () => {
    const { downtime } = source((qemu) => {
      qemu.open(2, HELLO, ...packet(20));
      qemu.write(MAIN, ...DEVICE_STATE);
    }).figures();
    expect(downtime).toBeNull();
  });

  test('what looks like a page on the main channel of a multifd migration is none', () => {
    const { pages, rounds } = source((qemu) => {
      qemu.open(2, HELLO, ...packet(20));
      qemu.write(MAIN, 32, 4096, 8);
    }).figures();
    expect([pages.normal, rounds[0]?.pages.normal]).toEqual([20, 20]);
  });
});

describe('bounds', () => {
  test('SEALED_OPENINGS: a hello behind more than that is not remembered', () => {
    const roleAfter = (others: number): string | undefined => {
      const { migration } = source((qemu) => {
        for (let i = 0; i < others; i++) qemu.write(MAIN, 100);
        qemu.open(2, HELLO);
        qemu.write(2, ...packet(20));
      });
      return migration.roles.get(2)?.kind;
    };
    expect(roleAfter(SEALED_OPENINGS - 2)).toBe('multifd');
    expect(roleAfter(SEALED_OPENINGS)).not.toBe('multifd');
  });

  test('SEALED_CHANNELS: further ones are not told apart', () => {
    const { migration } = source((qemu) => {
      qemu.pages(MAIN, 20);
      for (let i = 1; i < SEALED_CHANNELS + 10; i++) qemu.open(2 * i, HELLO);
    });
    expect(migration.roles.size).toBe(SEALED_CHANNELS);
  });
});

describe('post-copy that was interrupted', () => {
  /** The source asks for the bitmaps of two blocks; the destination answers each, and then that it is ready. */
  const resumed = (...bitmaps: number[]): Source =>
    source((qemu) => {
      qemu.open(MAIN, 12, 15);
      for (const bytes of bitmaps) qemu.answer(MAIN, bytes);
      qemu.write(MAIN, 9);
      qemu.answer(MAIN, 8);
      qemu.answer(MAIN, 23); // a request
      qemu.pages(MAIN, 50);
      qemu.answer(MAIN, 8); // SHUT
    });

  test('goes on where a destination tells which pages it has', () => {
    const { migration } = resumed(16_384, 900, 40);
    const { features, rounds, phases, postcopy, downtime, pages } = migration.finish();
    expect(migration.complete).toBe(true);
    expect(features).toEqual(expect.arrayContaining(['postcopy', 'postcopy-resumed']));
    expect(rounds.map(({ boundary, pages: { normal } }) => [boundary, normal])).toEqual([['post-copy', 50]]);
    expect(phases.map(({ kind }) => kind)).toEqual(['setup', 'postcopy']);
    expect(postcopy).toMatchObject({ requests: 1, pages: 50 });
    expect(pages.normal).toBe(50);
    expect(downtime).toBeNull(); // it was before
  });

  test('not where it sends session tickets, or its certificate before anybody else spoke', () => {
    expect(resumed(1200, 1200).figures().features).not.toContain('postcopy-resumed');
    const greeted = source((qemu) => {
      qemu.answer(MAIN, 5000);
      qemu.open(MAIN, 31, 9);
      qemu.pages(MAIN, 50);
    });
    expect(greeted.figures().features).not.toContain('postcopy-resumed');
  });

  const migrationOf = (of: Partial<Migration>): Migration =>
    ({
      ...{ id: 0, source: 'a', destination: 'b', encryption: 'tls', outcome: 'failed', startNs: 0, downtime: null },
      stream: { features: ['postcopy', 'tls'] },
      postcopy: { requests: 3 },
      bytes: { total: 1 },
      connections: [],
      rounds: [],
      ramBlocks: [],
      ...of,
    }) as unknown as Migration;
  const again = { id: 1, startNs: 9, outcome: 'completed', stream: { features: ['postcopy-resumed'] } } as const;

  test('did not fail: what became of it the one that goes on tells', () => {
    const [first, second] = [migrationOf({}), migrationOf(again as unknown as Partial<Migration>)];
    compare([first, second], null, []);
    expect([first.outcome, second.outcome, second.resumes]).toEqual(['incomplete', 'completed', 0]);
  });

  test('between other hosts, in clear, before post-copy or after its end, is another', () => {
    for (const of of [{ source: 'c' }, { encryption: 'none' }, { postcopy: null }, { outcome: 'completed' }] as const) {
      const [first, second] = [migrationOf(of), migrationOf(again as unknown as Partial<Migration>)];
      const { outcome } = first;
      compare([first, second], null, []);
      expect([first.outcome, second.resumes]).toEqual([outcome, undefined]);
    }
  });
});
