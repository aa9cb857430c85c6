// The library's public names. Everything else is private and may change without notice.
export { Analysis, type AnalysisOptions, type Results, type Snapshot } from './analyze.js';
export { ANOMALIES, type Anomaly, type AnomalyCode, AnomalyLog, type Location } from './anomaly.js';
export type { CaptureInfo, CaptureInterface, CaptureSource, InputInfo, PacketBatch } from './capture/packet-batch.js';
export { openFiles } from './capture/source.js';
export type { Column, ColumnData } from './columns.js';
export type { Limit, Quantiles, TcpConnection, TcpDirection, TcpResults, Vantage } from './decode/tcp/results.js';
export type { UdpFlow, UdpResults } from './decode/udp/results.js';
export { InputError, UsageError } from './errors.js';
export type { Downtime, MigrationResults, Phase, Round } from './migration-stream/results.js';
export { compareReports, renderCompareHtml, renderCompareText } from './report/compare.js';
export { reportFrom } from './report/from-results.js';
export { renderHtml } from './report/html.js';
export { modelMigration } from './report/models/index.js';
export { redact } from './report/redact.js';
export type { Connection, Finding, JsonTable, Migration, ReportData } from './report/report.js';
export { diagnose } from './report/rules/engine.js';
export { arrowFiles, csvFiles } from './report/tables.js';
export { renderText } from './report/text.js';
