// The chaos table of the two smallest samples: nothing changes beyond what the harm explains, or in silence.
import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('node test/chaos/table.mjs, with cuts and without', () => {
  for (const more of [[], ['--cuts']]) {
    const args = ['test/chaos/table.mjs', 'headers-only', 'multifd-zlib', ...more];
    const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    const unexplained = stdout.split('\n').filter((row) => /^\| (?!harm|sample)/.test(row) && !row.endsWith('|  |'));
    expect({ unexplained, stderr }).toEqual({ unexplained: [], stderr: '' });
    expect(status).toBe(0);
    expect(stdout.split('\n').length).toBeGreaterThan(more.length === 0 ? 50 : 5);
  }
}, 120_000);
