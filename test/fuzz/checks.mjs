// What every report must be, whatever the capture was.

/**
 * Throws with the path of the first thing that cannot be.
 *
 * @param disorder  did time step back in the capture? Then, and only then, things may seem to end before they begin
 */
export function checkReport(report, disorder = report.anomalies.some(({ code }) => code === 'capture/time-backwards')) {
  checkNumbers(report, 'report');
  for (const key of ['connections', 'migrations', 'flows', 'findings', 'anomalies']) {
    if (!Array.isArray(report[key])) throw new Error(`${key} is no list`);
  }
  checkTotals(report);
  for (const [i, connection] of report.connections.entries()) checkConnection(connection, i);
  for (const [i, migration] of report.migrations.entries()) checkMigration(migration, i, report, disorder);
  report.findings.forEach((finding, i) => {
    inside(finding.confidence, 0, 1, `findings[${i}].confidence`);
    for (const [start, end] of finding.interval) ordered(start, end, `findings[${i}] ${finding.rule} interval`);
    if (finding.cost) inside(finding.cost.ns, 0, Infinity, `findings[${i}] ${finding.rule} cost`);
    for (const frame of finding.packets)
      inside(frame, 1, report.capture.frames, `findings[${i}] ${finding.rule} packet`);
  });
  for (const [name, table] of Object.entries(report.tables)) {
    for (const [column, { values }] of Object.entries(table.columns)) {
      if (values.length !== table.rows)
        throw new Error(`tables.${name}.${column}: ${values.length} of ${table.rows} rows`);
    }
  }
}

/** JSON turns NaN and Infinity into null silently: there must be none. */
function checkNumbers(value, path) {
  if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new Error(`${path} is ${value}`);
  } else if (typeof value === 'string') {
    if (value.length > 100_000) throw new Error(`${path} has ${value.length} characters`);
  } else if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) checkNumbers(value[i], `${path}[${i}]`);
  } else if (value !== null && typeof value === 'object') {
    for (const key of Object.keys(value)) checkNumbers(value[key], `${path}.${key}`);
  } else if (typeof value === 'bigint' || typeof value === 'function') {
    throw new Error(`${path} is a ${typeof value}`);
  }
}

const sum = (items, of) => items.reduce((total, item) => total + of(item), 0);

function equal(a, b, what) {
  if (Math.abs(a - b) > 1e-9 * Math.abs(a)) throw new Error(`${what}: ${a}, expected ${b}`);
}

/** Figures that are given twice are the same, and parts make the whole. */
function checkTotals({ capture, connections, flows, anomalies, tables }) {
  if (capture.inputs.length > 0) {
    equal(
      sum(capture.inputs, (input) => input.frames),
      capture.frames,
      'frames of all inputs',
    );
    equal(
      sum(capture.inputs, (input) => input.wireBytes),
      capture.wireBytes,
      'bytes of all inputs',
    );
  }
  const talks = [...connections, ...flows].flatMap(({ directions }) => directions);
  inside(
    sum(talks, (direction) => direction.frames),
    0,
    capture.frames,
    'frames of connections and flows',
  );
  for (const { code, count } of anomalies) inside(count, 1, Infinity, `count of ${code}`);
  const { rows, columns } = tables.timeline;
  const inTimeline = new Map();
  for (let row = 0; row < rows; row++) {
    const id = columns.direction.values[row];
    const total = inTimeline.get(id) ?? { payloadBytes: 0, uniqueBytes: 0 };
    for (const key of Object.keys(total)) total[key] += columns[key].values[row];
    inTimeline.set(id, total);
  }
  for (const [id, total] of inTimeline) {
    const direction = connections.find((connection) => connection.id === id >> 1)?.directions[id & 1];
    // Duplicates that turn out to be the capture's are taken back from totals, not from the time line.
    if (!direction || direction.captureDuplicates > 0) continue;
    for (const key of Object.keys(total))
      equal(total[key], direction[key], `${key} of direction ${id} in the time line`);
  }
}

function inside(value, low, high, path) {
  if (value === null || value === undefined) return;
  if (!(value >= low && value <= high)) throw new Error(`${path} is ${value}, expected ${low} … ${high}`);
}

function ordered(start, end, path) {
  if (!(start <= end)) throw new Error(`${path} runs from ${start} to ${end}`);
}

function checkConnection(connection, i) {
  ordered(connection.startNs, connection.endNs, `connections[${i}]`);
  inside(connection.handshakeRttNs, 0, Infinity, `connections[${i}].handshakeRttNs`);
  connection.directions.forEach((direction, side) => {
    const path = `connections[${i}].directions[${side}]`;
    for (const [key, value] of Object.entries(direction)) {
      // Time stamps may lie before the first frame's: clocks step back.
      if (typeof value === 'number' && !/DataNs$/.test(key)) inside(value, 0, Infinity, `${path}.${key}`);
    }
    inside(direction.uniqueBytes, 0, direction.payloadBytes, `${path}.uniqueBytes`);
    inside(direction.dataFrames, 0, direction.frames, `${path}.dataFrames`);
    inside(direction.retransmittedBytes, 0, direction.payloadBytes, `${path}.retransmittedBytes`);
    inside(direction.goodput, 0, direction.throughput * (1 + 1e-9), `${path}.goodput`);
    const { fast, timeout, tailLossProbe, other, spurious } = direction.retransmissions;
    equal(fast + timeout + tailLossProbe + other, direction.retransmittedSegments, `${path}.retransmissions`);
    inside(spurious, 0, direction.retransmittedSegments, `${path}.retransmissions.spurious`);
    for (const key of ['rttNs', 'window', 'inFlight', 'pipe']) checkQuantiles(direction[key], `${path}.${key}`);
    if (direction.limitedBy) checkShares(direction.limitedBy, `${path}.limitedBy`);
    if (direction.rhythm) inside(direction.rhythm.stretchAckShare, 0, 1, `${path}.rhythm.stretchAckShare`);
  });
}

function checkShares(shares, path) {
  const values = Object.values(shares);
  for (const share of values) inside(share, 0, 1.000001, path);
  const sum = values.reduce((total, share) => total + share, 0);
  if (Math.abs(sum - 1) > 1e-6) throw new Error(`${path} sums to ${sum}`);
}

function checkQuantiles(quantiles, path) {
  if (!quantiles) return;
  const { min, p50, p95, p99, max } = quantiles;
  for (const [a, b] of [
    [min, p50],
    [p50, p95],
    [p95, p99],
    [p99, max],
  ]) {
    if (!(a <= b)) throw new Error(`${path} is not ordered: ${JSON.stringify(quantiles)}`);
  }
}

/** What is true of every migration; `report` needs anomalies, connections (ids) and flows. */
export function checkMigration(migration, i, report, disorder) {
  const path = `migrations[${i}]`;
  if (!disorder) ordered(migration.startNs, migration.endNs, path);
  for (const part of ['pages', 'bytes', 'returnPath', 'stream']) {
    for (const [key, value] of Object.entries(migration[part])) {
      if (typeof value === 'number') inside(value, 0, Infinity, `${path}.${part}.${key}`);
    }
  }
  const { pages, bytes, stream } = migration;
  equal(bytes.main + bytes.multifd + bytes.preempt, bytes.total, `${path}.bytes`);
  equal(stream.decodedBytes + stream.undecodedBytes, bytes.total, `${path}.stream`);
  inside(bytes.ramRecords + bytes.deviceState, 0, bytes.total, `${path}.bytes of RAM and devices`);
  inside(
    sum(migration.devices, (device) => device.bytes),
    0,
    bytes.deviceState,
    `${path}.devices`,
  );
  // Phases are measured by places in the stream: what was lost or cut off lies between them.
  const whole = !report.anomalies.some(({ code }) => /^(tcp\/acked-unseen|stream\/|capture\/)/.test(code));
  if (whole && bytes.multifd === 0) {
    inside(
      sum(migration.phases, (phase) => phase.bytes),
      0,
      bytes.total,
      `${path}.phases`,
    );
  }
  const roundBytes = sum(migration.rounds, (round) => round.bytes);
  inside(roundBytes, 0, bytes.total + migration.rounds.length, `${path}.bytes of all rounds`);
  // Where channels are missing, zero pages may be all that was seen: too little to tell rounds by.
  const isPartial = report.anomalies.some(({ code }) => code === 'stream/channel-missing');
  for (const kind of ['normal', 'zero', 'xbzrle', 'compressed']) {
    if (pages[kind] === null) continue;
    if (kind === 'zero' && isPartial && migration.rounds.length === 0) continue;
    equal(
      sum(migration.rounds, (round) => round.pages[kind] ?? 0),
      pages[kind],
      `${path}.pages.${kind} of all rounds`,
    );
  }
  const allPages = pages.normal + (pages.zero ?? 0) + pages.xbzrle + pages.compressed;
  if (pages.distinct !== null) equal(pages.distinct + pages.resent, allPages, `${path}.pages`);
  migration.rounds.forEach((round, r) => {
    const at = `${path}.rounds[${r}]`;
    const before = migration.rounds[r - 1];
    if (!disorder) ordered(round.startNs, round.endNs, at);
    // Multifd channels need not be in step: their rounds may overlap.
    if (before && !disorder && migration.bytes.multifd === 0) {
      ordered(before.startNs, round.startNs, `the starts of ${path}.rounds[${r - 1}] and the next`);
      ordered(before.endNs, round.endNs, `the ends of ${path}.rounds[${r - 1}] and the next`);
    }
    inside(round.confidence, 0, 1, `${at}.confidence`);
    inside(round.bytes, 0, Infinity, `${at}.bytes`);
    for (const [key, value] of Object.entries(round.pages)) inside(value, 0, Infinity, `${at}.pages.${key}`);
  });
  for (const { kind, startNs, endNs } of [...migration.phases, ...migration.rounds]) {
    if (disorder) break;
    const at = kind ? `${path} phase ${kind}` : `${path} round`;
    ordered(startNs, endNs, at);
    ordered(migration.startNs, startNs, `${at} in the migration`);
    ordered(endNs, migration.endNs, `${at} in the migration`);
  }
  if (migration.downtime && !disorder) {
    const { earliestStartNs, latestStartNs, endNs, estimateNs } = migration.downtime;
    ordered(earliestStartNs, latestStartNs, `${path}.downtime start`);
    ordered(latestStartNs, endNs, `${path}.downtime`);
    inside(estimateNs, endNs - latestStartNs - 1, endNs - earliestStartNs + 1, `${path}.downtime.estimateNs`);
    ordered(endNs, migration.endNs, `${path}.downtime in the migration`);
  }
  for (const id of migration.connections) {
    if (!report.connections.some((connection) => connection.id === id)) {
      const flow = report.flows.some((each) => each.streams?.includes(2 * id) || each.streams?.includes(id * 2 + 1));
      if (!flow) throw new Error(`${path} names connection ${id}, which is not in the report`);
    }
  }
}

/** No control characters, nor the marks that reorder text: a name must not drive the terminal. */
export function checkText(text) {
  const found = /(?!\n)[\p{Cc}\u202a-\u202e\u2066-\u2069]/u.exec(text);
  if (!found) return;
  const near = JSON.stringify(text.slice(found.index - 40, found.index + 40));
  throw new Error(`the summary holds U+${found[0].charCodeAt(0).toString(16)} near ${near}`);
}

/** No name became markup. */
export function checkHtml(page) {
  if (!page.startsWith('<!')) throw new Error('no page');
  for (const mark of ['<img src=x', '<svg/onload', '</script><img', '\u001b']) {
    const at = page.indexOf(mark);
    if (at >= 0) throw new Error(`the page holds ${JSON.stringify(page.slice(at - 60, at + 60))}`);
  }
}
