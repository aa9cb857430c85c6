import { describe, expect, test } from 'vitest';
import { STRAY_KEEP_ALIVE, STRAY_WINDOW } from '../../../src/decode/rows.js';
import { PROBE_BYTES, type StreamConsumer } from '../../../src/decode/stream.js';
import { REASSEMBLY_DIRECTION_BYTES, REASSEMBLY_SEGMENTS } from '../../../src/limits.js';
import { random } from '../../support/random.js';
import {
  ack,
  deliver,
  type Frame,
  feed,
  fin,
  Recorder,
  reassemblerFor,
  rst,
  segment,
  syn,
} from '../../support/reassembly.js';

/** Enough frames and time for a grace period to be over. */
const later = (...frames: Frame[]): Frame[] => [
  ...Array.from({ length: 9 }, (_, i) => ack(0, { tNs: 5e6 + i })),
  ...frames.map((frame, i) => ({ tNs: 6e6 + i, ...frame })),
];

describe('in order', () => {
  test('segments come through one by one, as views, with their own times', () => {
    const { runs, chunks } = deliver(segment(0, 'abcd'), segment(4, 'efgh'), fin(8));
    expect(runs).toEqual(['abcdefgh', '|fin@8']);
    expect(chunks).toEqual([
      { offset: 0, length: 4, tNs: 0 },
      { offset: 4, length: 4, tNs: 10_000 },
    ]);
  });

  test.each([
    ['a late copy', segment(0, 'abcd')],
    ['a keep-alive', segment(3, 'X', { stray: STRAY_KEEP_ALIVE })],
    ['a stale segment', segment(4, 'XXXX', { stray: STRAY_WINDOW })],
  ])('%s changes nothing', (_name, extra) => {
    expect(deliver(segment(0, 'abcd'), extra, segment(4, 'ef')).runs).toEqual(['abcdef', '|capture-end@6']);
  });

  test('a retransmission that reaches further adds its new bytes', () => {
    expect(deliver(segment(0, 'abcd'), segment(2, 'cdef')).runs).toEqual(['abcdef', '|capture-end@6']);
  });

  test('a reset ends both directions', () => {
    expect(deliver(segment(0, 'abcd'), rst(4), segment(4, 'late')).runs).toEqual(['abcd', '|rst@4']);
  });
});

describe('out of order', () => {
  test('early bytes wait, and are delivered in order once the gap is closed', () => {
    const { runs, chunks } = deliver(segment(0, 'ab'), segment(4, 'ef'), segment(6, 'gh'), segment(2, 'cd'), fin(8));
    expect(runs).toEqual(['abcdefgh', '|fin@8']);
    expect(chunks.map(({ tNs }) => tNs)).toEqual([0, 30_000, 10_000, 20_000]);
  });

  test('overlapping early segments count once', () => {
    const frames = [segment(0, 'ab'), segment(6, 'gh'), segment(4, 'efghij'), segment(8, 'ij'), segment(2, 'cdef')];
    expect(deliver(...frames).runs).toEqual(['abcdefghij', '|capture-end@10']);
  });

  test('a FIN that comes first waits for its bytes', () => {
    expect(deliver(segment(0, 'ab'), fin(4), segment(2, 'cd')).runs).toEqual(['abcd', '|fin@4']);
  });
});

describe('an end that comes behind a hole keeps its own time', () => {
  const ending = (...frames: Frame[]) => {
    const { runs, ended } = deliver(...frames);
    return [runs.at(-1), ended?.tNs, ended?.frame];
  };
  const early = [segment(0, 'ab'), segment(4, 'ef', { tNs: 1e6 })];
  const elsewhere = segment(0, 'other', { direction: 2, tNs: 30e9 });

  test('of a FIN, when the hole is closed later', () => {
    expect(ending(...early, fin(6, { tNs: 2e6 }), segment(2, 'cd', { tNs: 9e6 }), elsewhere)).toEqual([
      '|fin@6',
      2e6,
      3,
    ]);
  });

  test('of a FIN, when an acknowledgement shows that the capture missed something', () => {
    expect(ending(...early, fin(6, { tNs: 2e6 }), ack(7, { tNs: 2e6 }), ...later(ack(7)))).toEqual(['|fin@6', 2e6, 3]);
  });

  test('of a FIN, when nothing shows what became of the hole', () => {
    expect(ending(...early, fin(6, { tNs: 2e6 }), elsewhere)).toEqual(['|fin@6', 2e6, 3]);
    expect(ending(segment(0, 'ab'), fin(6, { tNs: 2e6 }), elsewhere)).toEqual(['|fin@6', 2e6, 2]);
  });

  test('of the first FIN, when it is sent again', () => {
    expect(ending(...early, fin(6, { tNs: 2e6 }), fin(6, { tNs: 8e9 }), elsewhere)).toEqual(['|fin@6', 2e6, 3]);
  });

  test('of a reset, which is no end of the capture', () => {
    expect(ending(...early, rst(6, { tNs: 2e6 }), rst(6, { tNs: 3e6 }), elsewhere)).toEqual(['|rst@6', 2e6, 3]);
    expect(ending(...early, rst(6, { tNs: 2e6 }), segment(2, 'cd', { tNs: 2e6 }), elsewhere)).toEqual([
      '|rst@6',
      2e6,
      3,
    ]);
  });

  test('of a FIN, with a reset after it', () => {
    expect(ending(...early, fin(6, { tNs: 2e6 }), rst(7, { tNs: 3e6 }), elsewhere)).toEqual(['|fin@6', 2e6, 3]);
  });
});

describe('holes', () => {
  test('unseen: the peer acknowledged past it', () => {
    const { runs, log } = deliver(segment(0, 'abcd'), segment(8, 'ijkl'), ack(12), ...later(segment(12, 'm')));
    expect(runs).toEqual(['abcd', '<4 unseen>', 'ijklm', '|capture-end@13']);
    expect(log.count('stream/hole')).toBe(1);
  });

  test('an acknowledgement captured before its data is given time', () => {
    const frames = [segment(0, 'abcd'), segment(8, 'ijkl'), ack(12), ack(12), segment(4, 'efgh')];
    expect(deliver(...frames).runs).toEqual(['abcdefghijkl', '|capture-end@12']);
  });

  test('without an acknowledgement the gap stays open to the end of the capture', () => {
    const { runs, log } = deliver(segment(0, 'abcd'), segment(8, 'ijkl'));
    expect(runs).toEqual(['abcd', '<4 given-up>', 'ijkl', '|capture-end@12']);
    expect(log.count('stream/hole-given-up')).toBe(1);
  });

  test('cut: the frame holds less than was on the wire', () => {
    const frames = [segment(0, 'abcdefgh', { captured: 3 }), segment(8, 'ij')];
    expect(deliver(...frames).runs).toEqual(['abc', '<5 cut>', 'ij', '|capture-end@10']);
  });

  test('cut bytes of an early segment stay cut', () => {
    const frames = [segment(0, 'ab'), segment(4, 'efgh', { captured: 1 }), segment(2, 'cd')];
    expect(deliver(...frames).runs).toEqual(['abcde', '<3 cut>', '|capture-end@8']);
  });

  test('a cut retransmission over a hole does not hide what waits behind it', () => {
    const frames = [segment(0, 'ab'), segment(4, 'ef'), segment(2, 'cdef', { captured: 2 })];
    expect(deliver(...frames).runs).toEqual(['abcdef', '|capture-end@6']);
  });

  test('the last bytes, known from the FIN', () => {
    expect(deliver(segment(0, 'abcd'), fin(10)).runs).toEqual(['abcd', '<6 given-up>', '|fin@10']);
  });

  test('the last bytes, known from the acknowledgement only', () => {
    expect(deliver(segment(0, 'abcd'), ack(11)).runs).toEqual(['abcd', '<6 unseen>', '|capture-end@10']);
  });

  test('an acknowledgement of the FIN alone is no hole', () => {
    expect(deliver(segment(0, 'abcd'), ack(5)).runs).toEqual(['abcd', '|capture-end@4']);
  });
});

describe('limits', () => {
  const block = 'x'.repeat(60_000);

  test('beyond 16 MiB waiting, the oldest hole is given up', () => {
    const count = Math.ceil(REASSEMBLY_DIRECTION_BYTES / block.length) + 2;
    const frames = [segment(0, 'ab'), ...Array.from({ length: count }, (_, i) => segment(4 + i * block.length, block))];
    const recorder = new Recorder();
    const reassembler = reassemblerFor((direction) => (direction === 0 ? recorder : null));
    feed(reassembler, frames);
    expect(recorder.runs).toEqual(['ab', '<2 given-up>']);
    reassembler.finish();
    expect(recorder.runs.at(-1)).toBe(`|capture-end@${4 + count * block.length}`);
  });

  test('beyond so many waiting segments too', () => {
    const frames = [
      segment(0, 'a'),
      ...Array.from({ length: REASSEMBLY_SEGMENTS + 1 }, (_, i) => segment(2 + 2 * i, 'b')),
    ];
    const recorder = new Recorder();
    const reassembler = reassemblerFor((direction) => (direction === 0 ? recorder : null));
    feed(reassembler, frames);
    expect(recorder.runs.slice(0, 2)).toEqual(['a', '<1 given-up>']);
  });

  test('many directions together give up the hole that is open longest', () => {
    const directions = 10;
    const recorders = Array.from({ length: 2 * directions }, () => new Recorder());
    const reassembler = reassemblerFor((direction) => recorders[direction]!);
    const megabyte = new Uint8Array(1 << 20);
    for (let i = 0; i < directions; i++) feed(reassembler, [segment(0, 'a', { direction: 2 * i, tNs: i })]);
    for (let mib = 0; mib < 9; mib++) {
      for (let i = 0; i < directions; i++) {
        const tNs = 1000 + 100 * mib + i;
        feed(reassembler, [{ direction: 2 * i, offset: 2 + mib * megabyte.length, payload: megabyte, tNs }]);
      }
    }
    const gaveUp = recorders.map(({ runs }) => runs.includes('<1 given-up>'));
    expect(gaveUp[0]).toBe(true);
    expect(gaveUp[2 * (directions - 1)]).toBe(false);
  });

  test('a jump far ahead waits like any other early segment', () => {
    const frames = [segment(0, 'ab'), segment(2 ** 40, 'zz')];
    expect(deliver(...frames).runs).toEqual(['ab', `<${2 ** 40 - 2} given-up>`, 'zz', `|capture-end@${2 ** 40 + 2}`]);
  });
});

describe('claiming', () => {
  const claims = (answer: (first: string, fromStart: boolean) => StreamConsumer | null | undefined) => {
    const asked: string[] = [];
    const reassembler = reassemblerFor((_direction, buffer, start, end, fromStart) => {
      const first = Buffer.from(buffer.subarray(start, end)).toString('latin1');
      asked.push(`${fromStart ? 'start' : 'midway'} ${first}`);
      return answer(first, fromStart);
    });
    return { asked, reassembler };
  };

  test('the first bytes decide; whoever says no is not asked again', () => {
    const { asked, reassembler } = claims(() => null);
    feed(reassembler, [syn(), segment(0, 'GET'), segment(3, ' /')]);
    expect(asked).toEqual(['start GET']);
  });

  test('undecided bytes are kept and offered again with more', () => {
    const recorder = new Recorder();
    const { asked, reassembler } = claims((first) => (first.length < 5 ? undefined : recorder));
    feed(reassembler, [syn(), segment(0, 'QE'), segment(2, 'V'), segment(3, 'M123'), segment(7, '456')]);
    reassembler.finish();
    expect(asked).toEqual(['start QE', 'start QEV', 'start QEVM123']);
    expect(recorder.runs).toEqual(['QEVM123456', '|capture-end@10']);
  });

  test('who cannot tell from so many bytes never will', () => {
    const { asked, reassembler } = claims(() => undefined);
    const piece = 'x'.repeat(1000);
    feed(
      reassembler,
      [0, 1, 2, 3, 4, 5, 6].map((i) => segment(i * 1000, piece)),
    );
    expect(asked.at(-1)).toHaveLength('midway '.length + PROBE_BYTES);
    expect(asked).toHaveLength(5);
  });

  test('without a SYN the stream is joined midway, wherever it is', () => {
    const recorder = new Recorder();
    const { asked, reassembler } = claims(() => recorder);
    feed(reassembler, [segment(700, 'abc')]);
    expect(asked).toEqual(['midway abc']);
    reassembler.finish();
    expect(recorder.runs).toEqual(['abc', '|capture-end@703']);
  });

  test('first bytes behind a hole are offered as joined midway', () => {
    const { asked, reassembler } = claims(() => null);
    feed(reassembler, [syn(), segment(5, 'fgh')]);
    reassembler.finish();
    expect(asked).toEqual(['midway fgh']);
  });

  test('a consumer that wants no more is forgotten', () => {
    let calls = 0;
    const once: StreamConsumer = { bytes: () => ++calls < 2, hole: () => {}, end: () => calls++ };
    const { reassembler } = claims(() => once);
    feed(reassembler, [segment(0, 'a'), segment(1, 'b'), segment(2, 'c')]);
    reassembler.finish();
    expect(calls).toBe(2);
  });

  test('a connection id that is used again starts from nothing', () => {
    const { asked, reassembler } = claims(() => null);
    feed(reassembler, [syn(), segment(0, 'one')]);
    reassembler.forget(0);
    feed(reassembler, [segment(0, 'two')]);
    expect(asked).toEqual(['start one', 'midway two']);
  });
});

describe('any order, split and duplication', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('gives the bytes of the plain byte map, seed %i', (seed) => {
    const source = random(seed);
    const whole = source.bytes(5000).map((byte) => 65 + (byte % 26));
    const frames: Frame[] = [];
    for (let at = 0; at < whole.length; ) {
      const length = 1 + source.below(60);
      frames.push({ offset: at, payload: whole.subarray(at, at + length) });
      at += length;
    }
    const mixed = [...frames];
    for (let i = 0; i < 100; i++) {
      const at = source.below(whole.length - 1);
      mixed.push({ offset: at, payload: whole.subarray(at, at + 1 + source.below(300)) });
    }
    // Displaced by up to 40 places, so that much waits but little at a time.
    const shuffled = mixed
      .map((frame, i) => ({ frame, key: (i % frames.length) + source.below(40) }))
      .sort((a, b) => a.key - b.key)
      .map(({ frame }) => frame);
    const { runs } = deliver(syn(), ...shuffled);
    expect(runs).toEqual([Buffer.from(whole).toString('latin1'), '|capture-end@5000']);
  });
});
