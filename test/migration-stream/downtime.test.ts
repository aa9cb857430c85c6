import { describe, expect, test } from 'vitest';
import { AnomalyLog } from '../../src/anomaly.js';
import { MigrationState } from '../../src/migration-stream/migration.js';
import { type Command, PAGE_NORMAL, type Section, type SectionKind } from '../../src/migration-stream/records.js';
import type { Downtime } from '../../src/migration-stream/results.js';
import { NO_LAGS } from '../../src/migration-stream/send-lag.js';
import { SwitchOver } from '../../src/migration-stream/switch-over.js';

const MS = 1e6;

/** The main channel of a multifd migration and one of its lanes, event by event; times in ms. */
class Multifd {
  readonly #state: MigrationState;
  readonly #lane: number;
  readonly #clock = { newestNs: 0, beforeNs: 0 };
  #offset = 100;

  /** @param lagMs  how late what the main channel sends is captured */
  constructor(lagMs = 0) {
    this.#state = new MigrationState(new AnomalyLog(), 0, 0, { ...NO_LAGS, of: () => lagMs * MS });
    this.#state.blocks([{ name: 'pc.ram', lengthBytes: 2 ** 30 }]);
    this.#lane = this.#state.joinMultifd(false, this.#clock);
    this.section('start', 0, 1);
  }

  /** A RAM section: its header, its last word (null: lost), and its footer, which waits for what comes next. */
  section(kind: SectionKind, fromMs: number, toMs: number | null, footerMs = toMs ?? fromMs): this {
    const place = { offset: this.#offset, tNs: fromMs * MS, frame: 1 };
    const section: Section = { ...place, kind, id: 2, name: 'ram', instance: 0, version: 4, packaged: false };
    this.#state.sectionStart(section);
    const end = { offset: this.#offset + 18, tNs: footerMs * MS, frame: 2, length: 18, exact: true };
    if (toMs !== null) this.#state.sectionEnd(section, { ...end, contentsNs: toMs * MS });
    this.#offset += 18;
    return this;
  }

  /** Pages on the lane, one a millisecond. */
  pages(fromMs: number, toMs: number): this {
    for (let ms = fromMs; ms <= toMs; ms++) {
      this.bytes(ms);
      this.#state.multifdPage(this.#lane, ms * MS, 0, ms * 4096, PAGE_NORMAL, 4096);
    }
    return this;
  }

  /** The lane's stream goes on at that time, with contents of the packet before or with what is called next. */
  bytes(ms: number): this {
    this.#clock.beforeNs = this.#clock.newestNs;
    this.#clock.newestNs = ms * MS;
    return this;
  }

  runState(state: string, isRebootable = false): this {
    this.#state.runState(state, isRebootable);
    return this;
  }

  /** A SYNC on the lane: the section before is all sent. */
  sync(): this {
    this.#state.multifdSync(this.#lane);
    return this;
  }

  switchover(ms: number): this {
    const place = { offset: this.#offset, tNs: ms * MS, frame: 3 };
    const command: Command = { ...place, command: 11, name: 'switchover-start', packaged: false, value: null };
    this.#state.command(command);
    return this;
  }

  /** The end mark; the destination's SHUT, or else the stream's end. */
  end(ms: number, shutMs: number | null, endMs = ms, mirrorEndsMs: readonly number[] = [], rttMs = 0): Downtime {
    this.#state.endMark({ offset: this.#offset, tNs: ms * MS, frame: 4 });
    if (shutMs !== null)
      this.#state.reply({ offset: 0, tNs: shutMs * MS, frame: 5, name: 'shut', value: 0, request: null });
    this.#state.streamEnd(this.#offset + 1, endMs * MS);
    const mirrorEndsNs = mirrorEndsMs.map((mirrorMs) => mirrorMs * MS);
    return this.#state.finish({ p50: 0, max: 0, rttNs: rttMs * MS }, mirrorEndsNs).downtime!;
  }

  get setupMs(): number {
    const { startNs, endNs } = this.#state.finish().phases[0]!;
    return (endNs - startNs) / MS;
  }
}

describe('the guest of a multifd migration stopped', () => {
  test('behind the last section of the main channel, while its pages still wait in the other channels', () => {
    const downtime = new Multifd().pages(2, 80).section('part', 60, 60).pages(81, 300).section('end', 200, 200);
    expect(downtime.end(305, 310)).toMatchObject({
      latestStartNs: 200 * MS,
      endNs: 310 * MS,
      estimateNs: 250 * MS,
      method: expect.stringContaining('end of the last memory section to SHUT on the return path'),
    });
  });

  test('when the last word of that section was written, not when its footer left with what followed', () => {
    const channels = new Multifd().pages(2, 80).section('part', 50, 60, 190).pages(81, 300).switchover(190);
    expect(channels.section('end', 300, 300).end(305, 310).estimateNs).toBe(250 * MS);
  });

  test('earlier by what that word waited behind other frames, as its timestamp shows', () => {
    const channels = new Multifd(15).pages(2, 80).section('part', 60, 60).pages(81, 300).section('end', 200, 200);
    expect(channels.end(305, 310)).toMatchObject({
      latestStartNs: 200 * MS,
      estimateNs: 265 * MS,
      method: expect.stringContaining('end of the last memory section, 15 ms before it was captured, to SHUT'),
    });
  });

  test('where only the mark of the switch is left of it, earlier by what that waited', () => {
    const { estimateNs, method } = new Multifd(15).switchover(190).end(305, 310);
    expect(estimateNs).toBe(135 * MS);
    expect(method).toContain('SWITCHOVER_START, 15 ms before it was captured, to SHUT');
  });

  test('when its end is lost, not before it began', () => {
    const channels = new Multifd().pages(2, 40).section('part', 30, 30);
    channels.pages(41, 300).section('part', 90, null).section('end', 200, 200);
    expect(channels.end(305, 310).estimateNs).toBe(220 * MS);
  });

  test('right before the final pass, where a rate limit lets all channels sleep behind each section', () => {
    const channels = new Multifd();
    for (const ms of [0, 100, 200]) channels.pages(ms + 50, ms + 60).section('part', ms + 60, ms + 60);
    channels.pages(350, 355).section('end', 356, 356);
    expect(channels.end(358, 360).estimateNs).toBe(10 * MS);
  });

  test('right before the final pass, where the channels had nothing left to send', () => {
    const channels = new Multifd().sync().pages(2, 60).sync().section('part', 60, 60);
    channels.pages(110, 115).section('end', 116, 116);
    expect(channels.end(118, 120).estimateNs).toBe(10 * MS);
  });

  test('in the middle of a silence that may be the path’s, which silenced the other channels this once', () => {
    const channels = new Multifd();
    for (const ms of [0, 60, 120]) channels.pages(ms + 10, ms + 60).section('part', ms + 60, ms + 60);
    channels.pages(250, 300).section('end', 290, 290);
    expect(channels.end(305, 310).estimateNs).toBe(95 * MS);
  });

  test('before a long pause at the switch-over', () => {
    const channels = new Multifd().pages(2, 60).section('part', 60, 60).pages(260, 265).section('end', 266, 266);
    const downtime = channels.end(268, 270);
    expect(downtime.estimateNs).toBe(210 * MS);
    expect(downtime.method).toContain('nothing was sent for 200 ms: a pause at the switch-over, or a busy source');
    expect(downtime.method).toContain('; uncertain, for the guest may have run meanwhile');
    expect(downtime.confidence).toBeLessThan(0.6);
  });

  test('behind a long gap of which threads that waited for a processor filled most: no source is silent for the rest', () => {
    const channels = new Multifd().sync().pages(2, 60).sync().section('part', 60, 60).bytes(190);
    const downtime = channels.pages(260, 265).section('end', 266, 266).end(268, 270);
    expect(downtime.estimateNs).toBe(10 * MS);
    expect(downtime.method).not.toContain('nothing was sent');
    expect(downtime.confidence).toBeLessThan(0.6);
    // The same where no page came before the mark.
    const none = new Multifd().sync().pages(2, 60).sync().section('part', 60, 60).bytes(190).section('end', 266, 266);
    expect(none.end(268, 270).method).not.toContain('nothing was sent');
  });

  test('before a pause in which a disk was mirrored to its end, and that is no longer a guess', () => {
    const channels = new Multifd().pages(2, 60).section('part', 60, 60).pages(160, 165).section('end', 166, 166);
    const downtime = channels.end(168, 170, 168, [158]);
    expect(downtime.estimateNs).toBe(110 * MS);
    expect(downtime.method).toContain('a disk was mirrored until right before that mark');
    expect(downtime.method).not.toContain('may have run meanwhile');
  });

  test('perhaps before a segment left that came as late as a delayed acknowledgement', () => {
    const held = (toMs: number): Downtime => {
      const channels = new Multifd().pages(2, 90).section('part', 30, 30).section('part', toMs, toMs);
      return channels.pages(91, 100).section('end', 100, 100).end(101, 105);
    };
    expect(held(72).confidence).toBeLessThan(0.6);
    expect(held(85).confidence).toBeGreaterThanOrEqual(0.6);
  });

  test('and ran again, for all that is known without a return path, with the end of the stream', () => {
    const channels = new Multifd().pages(2, 80).section('part', 60, 60).pages(81, 200).section('end', 200, 200);
    const downtime = channels.end(202, null, 205);
    expect(downtime).toMatchObject({ estimateNs: 145 * MS, endNs: 205 * MS, latestStartNs: 200 * MS });
  });
});

test('what an answer ends is as uncertain as its way is long', () => {
  const confidence = (rttMs: number, shutMs: number | null): number => {
    const channels = new Multifd().pages(2, 80).section('part', 60, 60).pages(80, 150).switchover(61);
    return channels.section('end', 150, 150).end(152, shutMs, 155, [], rttMs).confidence!;
  };
  expect(confidence(1, 155)).toBe(0.9);
  expect(confidence(100, 155)).toBeLessThan(0.6);
  expect(confidence(100, null)).toBe(confidence(1, null));
});

test('without an answer both ends wait in the send buffer, on a long path not equally long', () => {
  const downtime = (rttMs: number): Downtime => {
    const channel = new SwitchOver();
    const bytes = 4 << 20;
    for (let offset = 0; offset < bytes; offset += 4096) channel.left(offset, (offset / 4096) * 0.2 * MS);
    channel.stop({ offset: bytes, tNs: 205 * MS, frame: 1 }, 'END section', 204 * MS);
    const unseen = { startNs: 0, endMarkNs: 230 * MS, shutNs: Number.NaN, postcopy: null, mirrorEndsNs: [] };
    const flight = { p50: 100_000, max: 200_000, rttNs: rttMs * MS };
    const kind = {
      isMultifd: false,
      hasReturnPath: false,
      isJoined: false,
      isCutOff: false,
      isMainRead: true,
      isUnrepeated: false,
    };
    return channel.downtime({ ...unseen, ...kind, lastNs: 240 * MS, flight })!;
  };
  expect(downtime(1)).toMatchObject({ estimateNs: 35 * MS, method: expect.stringContaining('left the send buffer') });
  expect(downtime(1).confidence).toBeGreaterThanOrEqual(0.6);
  expect(downtime(60).confidence).toBeLessThan(0.6);
});

describe('no page is sent twice', () => {
  const downtimeOf = (state: string | null, isRebootable = false): Downtime => {
    const channels = new Multifd().pages(2, 160).section('part', 160, 160).pages(161, 300).section('end', 200, 200);
    if (state !== null) channels.runState(state, isRebootable);
    return channels.end(305, 310);
  };

  test('of a guest that ran idly until the source stopped it, as the stored state says', () => {
    const { method, confidence, earliestStartNs } = downtimeOf('running');
    expect(method).toBe('end of the last memory section to SHUT on the return path');
    expect(confidence).toBeGreaterThanOrEqual(0.6);
    expect(earliestStartNs).toBeGreaterThan(0);
  });

  test.each([
    [null, false, 'the guest was idle, or stopped before the migration began'],
    // From 9.0 on a migration may begin with stopping the guest.
    ['running', true, 'the guest was idle, or stopped before the migration began'],
    ['paused', false, 'the guest was not running when the migration began'],
    ['prelaunch', true, 'the guest was not running when the migration began'],
  ])('of one that may not have run: state %s, %s', (state, isRebootable, says) => {
    const { method, confidence, earliestStartNs } = downtimeOf(state, isRebootable);
    expect(method).toContain(says);
    expect(confidence).toBeLessThan(0.6);
    expect(earliestStartNs).toBe(0);
  });
});

test('the setup of a multifd migration ends with its first page, long before the first section is seen', () => {
  const channels = new Multifd().pages(4, 80).section('part', 60, 60);
  expect(channels.setupMs).toBe(4);
});
