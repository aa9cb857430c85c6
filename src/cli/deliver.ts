// From results to what the user asked for: report, findings, models, and every kind of output.
import type { Results } from '../analyze.js';
import { plainJson } from '../report/format.js';
import { reportFrom } from '../report/from-results.js';
import { modelMigration } from '../report/models/index.js';
import { redact } from '../report/redact.js';
import type { ReportData } from '../report/report.js';
import { conclude } from '../report/rules/engine.js';
import { renderText } from '../report/text.js';
import { type CliIo, columnsOf, wantsColor } from './io.js';
import type { AnalysisOptions, OutputOptions } from './options.js';
import { print, writeFolder, writeResult } from './output.js';
import { VERSION } from './version.js';

/** The whole result with models and findings, redacted when asked. `complete` may add to it before it is judged. */
export function toReport(
  results: Results,
  options: AnalysisOptions & OutputOptions,
  complete: (report: ReportData) => void = () => {},
): ReportData {
  const report = reportFrom(results, VERSION);
  complete(report);
  return judge(report, options);
}

/** Fills in (or renews) models and findings of a report. */
export function judge(report: ReportData, options: AnalysisOptions & OutputOptions): ReportData {
  for (const migration of report.migrations) migration.models = modelMigration(report, migration, options.whatIf);
  const downtime = options.whatIf?.downtime;
  const { findings, ruledOut } = conclude(report, {
    ...(downtime === undefined ? {} : { downtimeLimitNs: downtime }),
    ...(options.threshold ? { thresholds: options.threshold } : {}),
  });
  report.findings = findings;
  report.ruledOut = ruledOut;
  return options.redact ? redact(report) : report;
}

/** Writes the requested outputs; the summary goes to standard output unless a result does or --quiet. */
export async function deliver(report: ReportData, options: OutputOptions, io: CliIo): Promise<void> {
  if (options.json !== undefined) await writeResult(options.json, `${plainJson(report)}\n`, io);
  if (options.html !== undefined) {
    const { renderHtml } = await import('../report/html.js');
    await writeResult(options.html, await renderHtml(report), io);
  }
  if (options.csv !== undefined || options.arrow !== undefined) await writeTables(report, options);
  if (options.quiet || options.json === '-' || options.html === '-') return;
  await print(io.stdout, renderText(report, { color: wantsColor(io.stdout, io.env), width: columnsOf(io.stdout) }));
}

async function writeTables(report: ReportData, options: OutputOptions): Promise<void> {
  const { csvFiles, arrowFiles } = await import('../report/tables.js');
  for (const [folder, files] of [
    [options.csv, csvFiles],
    [options.arrow, arrowFiles],
  ] as const) {
    if (folder === undefined) continue;
    writeFolder(folder, await files(report), options.force ?? false);
  }
}
