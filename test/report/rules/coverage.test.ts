import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { RULES } from '../../../src/report/rules/index.js';

const sources = readdirSync(import.meta.dirname)
  .filter((name) => name.endsWith('.test.ts'))
  .map((name) => readFileSync(`${import.meta.dirname}/${name}`, 'utf8'))
  .join('\n');

test.each(RULES.map((rule) => rule.id))('%s has a situation to speak in and a look-alike to be silent about', (id) => {
  const own = sources.includes(`findings('${id}'`); // a test file of its own
  expect(own || new RegExp(`speaks\\(\\s*'${id}'`).test(sources)).toBe(true);
  expect(own || new RegExp(`silent\\(\\s*'${id}'`).test(sources)).toBe(true);
});
