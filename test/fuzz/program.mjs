// The built program, as runCase() takes it.
const from = (folder) => (path) => import(`${folder}/${path}`);

/** @param folder  URL of a dist folder */
export async function loadProgram(folder) {
  const get = from(folder);
  const modules = await Promise.all(
    [
      'analyze.js',
      'anomaly.js',
      'capture/packet-batch.js',
      'capture/source.js',
      'decode/stream-feed.js',
      'errors.js',
      'cli/deliver.js',
      'migration-stream/description.js',
      'migration-stream/session.js',
      'report/compare.js',
      'report/from-results.js',
      'report/text.js',
      'report/html.js',
      'report/tables.js',
      'report/redact.js',
      'report/saved.js',
    ].map(get),
  );
  return Object.assign({}, ...modules);
}
