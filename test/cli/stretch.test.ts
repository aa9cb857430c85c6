import { describe, expect, test } from 'vitest';
import { parseStretch } from '../../src/cli/options.js';
import type { ReportData } from '../../src/report/report.js';
import { cli } from '../support/cli.js';

describe('a stretch of one’s own', () => {
  test('is given in seconds, and a connection', () => {
    expect(parseStretch('12.5..13')).toEqual({ fromNs: 12.5e9, toNs: 13e9, connection: null });
    expect(parseStretch('0..1:4')).toEqual({ fromNs: 0, toNs: 1e9, connection: 4 });
  });

  test.each(['12', '3..2', '1..1', '1..2:x', '-1..2', '1..2..3'])('%s is refused', (text) => {
    expect(() => parseStretch(text)).toThrow('Expected FROM..TO in seconds');
  });

  test('every segment of it is in the result', async () => {
    const run = await cli(['analyze', '-q', '--json', '-', '--stretch', '2..2.5', 'samples/wan-loss.pcap.gz']);
    const { columns } = (JSON.parse(run.stdout) as ReportData).tables['tcpSegments']!;
    const [stretch, tNs] = [columns['stretch']!.values, columns['tNs']!.values];
    const own = tNs.filter((_, row) => stretch[row] === stretch[0]);
    expect(own.length).toBeGreaterThan(400);
    expect(Math.min(...own.map(Number))).toBeGreaterThanOrEqual(2e9);
    expect(Math.max(...own.map(Number))).toBeLessThan(2.5e9);
  });

  test('one with nothing in it is refused', async () => {
    const run = await cli(['analyze', '--stretch', '900..901', 'samples/wan-loss.pcap.gz']);
    expect(run.code).toBe(2);
    expect(run.stderr).toContain('No TCP segments lie between 900 s and 901 s.');
  });
});
