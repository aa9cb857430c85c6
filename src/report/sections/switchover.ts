// The switch-over: how long the guest stood still, and what filled that time.
import { bytes, duration, moment, plain, plural } from '../format.js';
import { cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import { downtimeRange, pauseText } from '../pause.js';
import type { Migration } from '../report.js';
import { requestsText } from '../verdict.js';
import type { Drawn } from './figure.js';

export function switchSection(migration: Migration, { figures }: Drawn, rows: number): Html {
  const { downtime, devices, phases, postcopy } = migration;
  if (!downtime && devices.length === 0 && phases.length === 0) return html``;
  const lead = downtime
    ? `The guest stood still for ${pauseText(downtime)}; the wire alone allows ${downtimeRange(downtime)} (${downtime.method}).`
    : 'The switch-over is not in the capture, so nothing can be said about downtime.';
  return html`<section><h2>Switch-over and devices</h2><p class="lead">${lead}</p>
${postcopy ? html`<p>Post-copy: ${plural(postcopy.pages, 'page')} from ${moment(postcopy.startNs)} to ${moment(postcopy.endNs)}; ${requestsText(postcopy, migration.returnPath)}.</p>` : ''}
${figures.get('switchover') ?? ''}${figures.get('request-waits') ?? ''}
<div class="pair">${deviceTable(migration, rows)}${phaseTable(migration)}</div></section>`;
}

function deviceTable(migration: Migration, limit: number): Html {
  if (migration.devices.length === 0) return html``;
  return sortableTable(
    'Devices',
    [text('Name'), numeric('Instance'), numeric('Version'), numeric('State'), numeric('On the wire')],
    migration.devices.map((device) => [
      cell(plain(device.name, 120)),
      cell(String(device.instance), device.instance),
      cell(String(device.version), device.version),
      cell(bytes(device.bytes), device.bytes),
      cell(
        device.endNs > device.startNs ? duration(device.endNs - device.startNs) : 'one frame',
        device.endNs - device.startNs,
      ),
    ]),
    limit,
  );
}

function phaseTable(migration: Migration): Html {
  if (migration.phases.length === 0) return html``;
  return sortableTable(
    'Phases',
    [text('Phase'), numeric('Start'), numeric('Took'), numeric('Bytes')],
    migration.phases.map((phase) => [
      cell(phase.kind),
      cell(moment(phase.startNs), phase.startNs),
      cell(duration(phase.endNs - phase.startNs), phase.endNs - phase.startNs),
      cell(bytes(phase.bytes), phase.bytes),
    ]),
  );
}
