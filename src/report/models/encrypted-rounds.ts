// Rounds of an encrypted migration as a model result: the pauses of its largest connection.
import { type InferredRounds, inferRounds } from './inferred-rounds.js';
import type { Model } from './model.js';

/** Bins wider than this hide the pauses between rounds. */
const WIDEST_BIN_NS = 5e6;

export const encryptedRounds: Model<InferredRounds> = {
  id: 'inferredRounds',
  title: 'Rounds inferred from pauses',
  validity: 'Encrypted streams with at least three rounds whose sizes shrink by one ratio; not with a rate limit.',
  source: 'derived',
  run({ report, migration }) {
    const timeline = report.tables['timeline'];
    if (migration.stream.decodedBytes > 0 || !timeline) return null;
    const value = (name: string, row: number): number => {
      const cell = timeline.columns[name]?.values[row];
      return typeof cell === 'number' ? cell : 0;
    };
    const rows = timeline.columns['direction']?.values.length ?? 0;
    const bytesOf = new Map<number, number>();
    for (let row = 0; row < rows; row++) {
      const direction = value('direction', row);
      if (!migration.connections.includes(direction >> 1)) continue;
      bytesOf.set(direction, (bytesOf.get(direction) ?? 0) + value('uniqueBytes', row));
    }
    const largest = [...bytesOf].sort((a, b) => b[1] - a[1])[0];
    if (!largest) return null;
    const steps: { startNs: number; bytes: number }[] = [];
    let stepNs = 0;
    for (let row = 0; row < rows; row++) {
      if (value('direction', row) !== largest[0]) continue;
      stepNs = Math.max(stepNs, value('durationNs', row));
      steps.push({ startNs: value('startNs', row), bytes: value('uniqueBytes', row) });
    }
    return stepNs <= WIDEST_BIN_NS ? inferRounds(steps, stepNs) : null;
  },
};
