// The register of docs/robustness.md holds every bound of limits.ts, and the test file it names really crosses it: says
// its name in a test, not only where it is imported or made small.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import * as limits from '../../src/limits.js';

const registered = new Map(
  Array.from(
    readFileSync('docs/robustness.md', 'utf8').matchAll(/^\| `([A-Z][A-Z0-9_]+)` \| (.+) \|$/gm),
    ([, bound, where]) => [bound!, where!] as const,
  ),
);

/** What the tests of a file say, without its imports and mocks. */
function testsOf(path: string): string {
  const text = readFileSync(path, 'utf8').replace(/^(import|vi\.mock\()[\s\S]*?;$/gm, '');
  return text.slice(Math.max(0, text.search(/^(describe|test)\b/m)));
}

describe('every bound of limits.ts', () => {
  test('is in the register, and nothing else is', () => {
    expect([...registered.keys()].sort()).toEqual(Object.keys(limits).sort());
  });

  test.each(Object.keys(limits))('%s is crossed by a test', (bound) => {
    const file = /^`([^`]+)`/.exec(registered.get(bound) ?? '')?.[1];
    expect(file, 'the register names a file').toBeDefined();
    expect(existsSync(`test/${file}`), file).toBe(true);
    expect(testsOf(`test/${file}`)).toMatch(new RegExp(`\\b${bound}\\b`));
  });
});
