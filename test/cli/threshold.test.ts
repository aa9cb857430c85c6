import { describe, expect, test } from 'vitest';
import { parseThreshold } from '../../src/cli/options.js';
import { cli } from '../support/cli.js';

describe('a threshold of one’s own', () => {
  test('names rule, threshold and value; several add up', () => {
    expect(parseThreshold('r-a2.intendedRate=125e6')).toEqual({ 'R-A2': { intendedRate: 125e6 } });
    expect(
      parseThreshold('R-A2.minExcess=2', { 'R-A2': { intendedRate: 1 }, 'R-D6': { expectedChannels: 4 } }),
    ).toEqual({
      'R-A2': { intendedRate: 1, minExcess: 2 },
      'R-D6': { expectedChannels: 4 },
    });
  });

  test.each([
    ['R-A2', 'Expected RULE.NAME=VALUE'],
    ['R-Z9.x=1', 'Expected RULE.NAME=VALUE'],
    ['R-A2.speed=1', 'R-A2 has intendedRate'],
    ['R-B10.x=1', 'R-B10 has no thresholds'],
    ['R-A2.intendedRate=fast', 'Expected a number'],
  ])('%s is refused', (text, complaint) => {
    expect(() => parseThreshold(text)).toThrow(complaint);
  });

  test('decides what is said', async () => {
    const rules = async (...options: string[]): Promise<string[]> => {
      const { stdout } = await cli(['analyze', '-q', '--json', '-', ...options, 'samples/wan-loss.pcap.gz']);
      return (JSON.parse(stdout) as { findings: { rule: string }[] }).findings.map(({ rule }) => rule);
    };
    expect(await rules()).not.toContain('R-D6');
    expect(await rules('--threshold', 'R-D6.expectedChannels=4', '--threshold', 'R-D6.minNs=0')).toContain('R-D6');
  });
});
