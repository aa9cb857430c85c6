// All models in fixed order, and what they say about one migration.
import type { Migration, ReportData } from '../report.js';
import { adaptiveRate } from './adaptive-rate.js';
import { autoConverge } from './auto-converge.js';
import { average } from './average.js';
import { bounds } from './bounds.js';
import { encryptedRounds } from './encrypted-rounds.js';
import { geometric } from './geometric.js';
import { history } from './history.js';
import { type Model, modelInput, NS } from './model.js';
import { remedies } from './remedies.js';
import { saturating } from './saturating.js';
import { switchover } from './switchover.js';
import { replay, type World, whatIf } from './what-if.js';

export const MODELS: readonly Model<unknown>[] = [
  bounds,
  average,
  history,
  geometric,
  saturating,
  replay,
  switchover,
  autoConverge,
  adaptiveRate,
  remedies,
  encryptedRounds,
];

/**
 * What every model says about one migration, by model id; models that lack their input are absent.
 *
 * @param world  another bandwidth (bytes/s) or downtime limit (ns); its outcome stands under `whatIf`
 */
export function modelMigration(report: ReportData, migration: Migration, world?: World): Record<string, unknown> {
  const input = modelInput(report, migration);
  // Ways out lead to the downtime that is accepted; every other model explains what was, under the usual limit.
  const accepted = world?.downtime === undefined ? input : modelInput(report, migration, world.downtime / NS);
  const results: Record<string, unknown> = {};
  for (const model of MODELS) {
    const result = model.run(model === remedies ? accepted : input);
    if (result !== null) results[model.id] = finite(result);
  }
  const other = world ? whatIf(input, world) : null;
  if (other) results['whatIf'] = finite(other);
  return results;
}

/** Degenerate input (no time, no bytes) can make a formula infinite: that is unknown, and JSON has no other word. */
function finite(value: unknown): unknown {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (Array.isArray(value)) return value.map(finite);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, finite(inner)]));
}
