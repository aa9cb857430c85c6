// Connections, other flows, and what encapsulation cost.
import type { UdpFlow } from '../../decode/udp/results.js';
import { channelLabel } from '../charts/data/transfer.js';
import { bitRate, bytes, count, duration, endpoint, moment, percent, plain, plural } from '../format.js';
import { type Cell, cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import type { Connection, ReportData } from '../report.js';
import { captureNotes, findingsOf } from '../verdict.js';
import { findingItem } from './findings.js';
import { quantity, words } from './quantity.js';

/** Findings about no migration in particular that are shown. */
const FINDINGS = 20;

export function connectionsSection(report: ReportData): Html {
  const notes = captureNotes(report);
  const rest =
    report.migrations.length > 0
      ? findingsOf(report, null)
          .filter((one) => !notes.includes(one))
          .slice(0, FINDINGS)
      : [];
  return html`<section id="connections"><h2>Connections</h2>
<p class="lead">Each row is one direction. ${plural(report.connections.length, 'TCP connection')}, ${plural(report.flows.length, 'other flow')}.</p>
${rest.length > 0 ? html`<ol class="findings">${rest.map((finding) => findingItem(finding))}</ol>` : ''}
${report.connections.length > 0 ? connectionTable(report.connections) : ''}
${report.flows.length > 0 ? flowTable(report.flows) : ''}
${tunnelTable(report)}
${diskTable(report)}</section>`;
}

/** Text that does not break where it is short: an IPv4 endpoint, the name of a channel. */
const whole = (shown: string): Cell =>
  cell(shown.length <= 22 ? html`<span class="whole">${shown}</span>` : shown, shown);

const address = (at: Parameters<typeof endpoint>[0]): Cell => whole(endpoint(at));

function connectionTable(connections: readonly Connection[]): Html {
  const columns = [
    numeric('Id'),
    text('Role'),
    text('From'),
    text('To'),
    numeric('Data'),
    numeric('Goodput'),
    numeric('RTT p50'),
    numeric('RTT p95'),
    numeric('Queue p95'),
    numeric('Retrans.'),
    numeric('Timeouts'),
    numeric('Out of order'),
    numeric('Zero window'),
    numeric('Not captured'),
    text('Answers loss'),
    text('Ended by'),
  ];
  const rows = connections.flatMap((connection) =>
    connection.directions
      .map((direction, side): readonly Cell[] => {
        const [from, to] = side === 0 ? [connection.client, connection.server] : [connection.server, connection.client];
        const tunnel = connection.encapsulation.length > 0 ? ` in ${connection.encapsulation.join(' / ')}` : '';
        return [
          cell(String(connection.id), connection.id),
          whole(`${side === 0 ? '' : 'back, '}${channelLabel({ connection, side: 0, direction: 0 })}${tunnel}`),
          address(from),
          address(to),
          cell(bytes(direction.uniqueBytes), direction.uniqueBytes),
          cell(bitRate(direction.goodput), direction.goodput),
          cell(duration(direction.rttNs?.p50 ?? null), direction.rttNs?.p50 ?? null),
          cell(duration(direction.rttNs?.p95 ?? null), direction.rttNs?.p95 ?? null),
          cell(duration(direction.queueingNs?.p95 ?? null), direction.queueingNs?.p95 ?? null),
          cell(count(direction.retransmittedSegments), direction.retransmittedSegments),
          cell(count(direction.retransmissions.timeout), direction.retransmissions.timeout),
          cell(count(direction.outOfOrderSegments), direction.outOfOrderSegments),
          cell(
            direction.zeroWindow.episodes > 0 ? duration(direction.zeroWindow.totalNs) : '0',
            direction.zeroWindow.totalNs,
          ),
          cell(bytes(direction.unseenBytes), direction.unseenBytes),
          cell(
            direction.congestionControl && direction.congestionControl.family !== 'unknown'
              ? direction.congestionControl.family
              : '–',
          ),
          cell(connection.endedBy),
        ];
      })
      .filter((_, side) => connection.directions[side]!.uniqueBytes > 0),
  );
  return sortableTable('TCP connections', columns, rows, 250);
}

function flowTable(flows: readonly UdpFlow[]): Html {
  const columns = [
    text('Transport'),
    text('From'),
    text('To'),
    numeric('Out'),
    numeric('Back'),
    numeric('Frames'),
    numeric('Lost'),
    numeric('Start'),
    numeric('Took'),
    text('Facts'),
  ];
  return sortableTable(
    'UDP and other flows',
    columns,
    flows.map((flow) => {
      const [out, back] = flow.directions;
      const facts = Object.entries(flow.facts)
        .filter(([, value]) => value !== null)
        .slice(0, 6)
        .map(([name, value]) => `${words(name)} ${typeof value === 'number' ? quantity(name, value) : value}`);
      return [
        cell(plain(flow.transport, 30)),
        address(flow.client),
        address(flow.server),
        cell(bytes(out.wireBytes), out.wireBytes),
        cell(bytes(back.wireBytes), back.wireBytes),
        cell(count(out.frames + back.frames), out.frames + back.frames),
        cell(count(out.lostPackets), out.lostPackets),
        cell(moment(flow.startNs), flow.startNs),
        cell(duration(flow.endNs - flow.startNs), flow.endNs - flow.startNs),
        cell(facts.join('; ')),
      ];
    }),
    200,
  );
}

/** Disks that moved beside the memory. */
function diskTable({ migrations }: ReportData): Html {
  const disks = migrations.flatMap((migration) => migration.disks);
  if (disks.length === 0) return html``;
  return sortableTable(
    'Disks mirrored over NBD',
    [
      numeric('Connection'),
      text('Export'),
      numeric('Written'),
      numeric('Zeroed'),
      numeric('Read'),
      numeric('Requests'),
      numeric('Start'),
      numeric('Took'),
    ],
    disks.map((disk) => [
      cell(String(disk.connection), disk.connection),
      cell(plain(disk.name, 80) || '–'),
      cell(bytes(disk.writtenBytes), disk.writtenBytes),
      cell(bytes(disk.zeroedBytes), disk.zeroedBytes),
      cell(bytes(disk.readBytes), disk.readBytes),
      cell(count(disk.requests), disk.requests),
      cell(moment(disk.startNs), disk.startNs),
      cell(duration(disk.endNs - disk.startNs), disk.endNs - disk.startNs),
    ]),
    100,
  );
}

/** What encapsulation carried and what its headers cost. */
function tunnelTable({ tables }: ReportData): Html {
  const table = tables['tunnels'];
  if (!table || table.rows === 0) return html``;
  const value = (name: string, row: number): number => Number(table.columns[name]?.values[row] ?? 0);
  const columns = [
    text('Encapsulation'),
    numeric('Frames'),
    numeric('Inside'),
    numeric('Outside'),
    numeric('Headers cost'),
    numeric('Fragmented'),
  ];
  return sortableTable(
    'Tunnels',
    columns,
    Array.from({ length: table.rows }, (_, row) => {
      const [inside, outside] = [value('innerIpBytes', row), value('outerIpBytes', row)];
      return [
        cell(plain(String(table.columns['encapsulation']?.values[row] ?? ''), 120)),
        cell(count(value('frames', row)), value('frames', row)),
        cell(bytes(inside), inside),
        cell(bytes(outside), outside),
        cell(percent(inside > 0 ? outside / inside - 1 : null), inside > 0 ? outside / inside : null),
        cell(count(value('fragmentedFrames', row)), value('fragmentedFrames', row)),
      ];
    }),
    100,
  );
}
