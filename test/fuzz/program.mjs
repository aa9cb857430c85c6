// The built program, as runCase() takes it.
const from = (folder) => (path) => import(`${folder}/${path}`);

/** @param folder  URL of a dist folder */
export async function loadProgram(folder) {
  const get = from(folder);
  const [analyze, anomaly, source, errors, deliver, report, text, html, tables, redact] = await Promise.all(
    [
      'analyze.js',
      'anomaly.js',
      'capture/source.js',
      'errors.js',
      'cli/deliver.js',
      'report/from-results.js',
      'report/text.js',
      'report/html.js',
      'report/tables.js',
      'report/redact.js',
    ].map(get),
  );
  return {
    ...analyze,
    ...anomaly,
    ...source,
    ...errors,
    ...deliver,
    ...report,
    ...text,
    ...html,
    ...tables,
    ...redact,
  };
}
