import { expect, test } from 'vitest';
import { Analysis } from '../../src/analyze.js';
import { reportFrom, rfc3339 } from '../../src/report/from-results.js';
import { diagnose } from '../../src/report/rules/engine.js';
import { renderText } from '../../src/report/text.js';
import { datagrams } from '../fuzz/datagrams.mjs';
import { migration } from '../fuzz/streams.mjs';
import { Trouble } from '../fuzz/trouble.mjs';
import { reportOn } from '../support/analyze.js';
import { batchOf } from '../support/frames.js';

test('the start of a capture to the nanosecond', () => {
  expect(rfc3339(1_700_000_000_123_456_789n)).toBe('2023-11-14T22:13:20.123456789Z');
});

test('a year that RFC 3339 cannot write, or before there were captures, is not known', () => {
  expect(rfc3339(-1n)).toBeNull();
  expect(rfc3339(253_402_300_799_999_999_999n)).toBe('9999-12-31T23:59:59.999999999Z');
  expect(rfc3339(253_402_300_800_000_000_000n)).toBeNull();
  expect(rfc3339(10n ** 30n)).toBeNull();
});

test('every path of a multipath connection carries the migration; the shares of each are given', () => {
  class Peace extends Trouble {
    override strikes(): boolean {
      return false;
    }
    override chance(): boolean {
      return false;
    }
  }
  const peace = new Peace(7);
  const frames = datagrams(peace, migration(peace).channels, 'mptcp', []);
  const analysis = new Analysis();
  analysis.push(batchOf(frames.map(({ bytes, ns }) => ({ bytes, tNs: Number(ns - frames[0]!.ns) }))));
  const report = reportFrom(analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' }), '0');
  const [only] = report.migrations;
  expect(only!.connections).toEqual([0, 1]);
  expect(report.connections.map(({ channel }) => channel.kind)).toEqual(['main', 'main']);
  const { rows, columns } = report.tables['subflows']!;
  expect([rows, columns['connection']!.values, columns['side']!.values]).toEqual([2, [0, 1], [0, 0]]);
  const sum = (name: string) => columns[name]!.values.reduce<number>((total, value) => total + Number(value), 0);
  expect(sum('share')).toBeCloseTo(1, 6);
  expect(sum('bytes')).toBe(only!.bytes.total);
  const text = renderText(report, { color: false, width: 80 }).replace(/\s+/g, ' ');
  expect(text).toMatch(
    /over 2 connections\..*Multipath TCP: connection 0 \d+ % .*, connection 1 \d+ % .*; nothing was sent/,
  );
});

test('a migration cut off in one file does not last until the end of another', async () => {
  const report = await reportOn(['many-channels', 'few-channels'].map((name) => `test/recordings/${name}.pcap.zst`));
  const [first, second] = report.migrations;
  expect([first!.outcome, second!.outcome]).toEqual(['incomplete', 'incomplete']);
  const last = ({ connections }: typeof first & object): number =>
    Math.max(...report.connections.filter(({ id }) => connections.includes(id)).map(({ endNs }) => endNs));
  expect(first!.endNs).toBe(last(first!));
  expect(first!.endNs).toBeLessThan(second!.startNs);
  expect(first!.phases.at(-1)!.endNs).toBe(first!.endNs);
  expect(first!.rounds.at(-1)!.endNs).toBe(first!.endNs);
  expect(diagnose(report).map(({ rule }) => rule)).not.toContain('R-A7');
});
