import { expect, test } from 'vitest';
import { RULES } from '../../../src/report/rules/index.js';
import type { Rule } from '../../../src/report/rules/rule.js';

const section = ({ id, title, layer, about, thresholds, explains }: Rule): string =>
  [
    `## ${id} ${title}`,
    about.meaning,
    `**Evidence (${layer}).** ${about.evidence}`,
    `**Confused with.** ${about.confusedWith}`,
    about.advice.map((line) => `- ${line}`).join('\n'),
    ...(Object.keys(thresholds).length > 0
      ? [
          '| threshold | value | unit | meaning |\n|---|---|---|---|\n' +
            Object.entries(thresholds)
              .map(([name, { value, unit, meaning }]) => `| \`${name}\` | ${value} | ${unit} | ${meaning} |`)
              .join('\n'),
        ]
      : []),
    ...(explains.length > 0 ? [`Explains ${explains.join(', ')}.`] : []),
  ].join('\n\n');

// `npx vitest run test/report/rules/catalogue.test.ts -u` renews the file; say in the commit why a number changed.
test('docs/rules.md says what the rules say', async () => {
  const text = `# Diagnosis rules

Written from the rules themselves (\`src/report/rules/\`). L0 needs packets only, L1 the decoded migration stream, L2 frames of
the guest's own network. \`migscope explain R-A1\` prints one of these on the terminal.

A finding needs a frame or an interval as proof. The capture is judged first (group J) and caps the confidence of what rests
on it. Severity follows cost: *major* from a fifth of the migration's time (and half a second) or twice the accepted downtime,
*minor* from 3 % (and 0.1 s), otherwise *info*; *fatal* is a migration that failed or hangs. A finding that a cause explains is
listed right behind it.

${RULES.map(section).join('\n\n')}
`;
  await expect(text).toMatchFileSnapshot('../../../docs/rules.md');
});
