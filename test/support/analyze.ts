// Runs the whole analysis on a file, as the command line does, without the command line.
import type { Readable } from 'node:stream';
import { Analysis, type AnalysisOptions, type Results } from '../../src/analyze.js';
import { AnomalyLog } from '../../src/anomaly.js';
import { openFiles, openStream } from '../../src/capture/source.js';
import { reportFrom } from '../../src/report/from-results.js';
import { modelMigration } from '../../src/report/models/index.js';
import type { ReportData } from '../../src/report/report.js';
import { diagnose, ruledOut } from '../../src/report/rules/engine.js';

export interface ReadSetting extends AnalysisOptions {
  readonly chunkBytes?: number;
  readonly stdin?: Readable;
}

/** Every stage, from files to results. */
export async function analyzeFiles(paths: readonly string[], setting: ReadSetting = {}): Promise<Results> {
  const log = new AnomalyLog();
  const { stdin, chunkBytes } = setting;
  const options = chunkBytes === undefined ? {} : { chunkBytes };
  const source = await (stdin ? openStream('-', stdin, log, options) : openFiles(paths, log, options));
  const analysis = new Analysis(log, setting);
  for await (const batch of source.batches()) analysis.push(batch);
  source.close();
  return analysis.finish(source.info);
}

/** The report as `migscope analyze --json` writes it. */
export async function reportOn(paths: string | readonly string[], setting: ReadSetting = {}): Promise<ReportData> {
  const report = reportFrom(await analyzeFiles(typeof paths === 'string' ? [paths] : paths, setting), '0.0.0-test');
  for (const migration of report.migrations) migration.models = modelMigration(report, migration);
  report.findings = diagnose(report);
  report.ruledOut = ruledOut(report, report.findings);
  return report;
}
