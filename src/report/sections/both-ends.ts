// Both hosts' captures side by side: what was lost between them, how their clocks differ.
import { bothEndsText } from '../both-ends.js';
import { bytes, count, duration, fileName, percent } from '../format.js';
import { cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import type { ReportData } from '../report.js';

/** Nothing when only one end was captured. */
export function bothEndsSection(report: ReportData): Html {
  const { bothEnds } = report;
  if (!bothEnds) return html``;
  const directions = bothEnds.connections.flatMap((pair) =>
    pair.directions.map((direction) => ({ ...direction, connection: pair.first })),
  );
  const columns = [
    numeric('Connection'),
    text('Way'),
    numeric('Sent'),
    numeric('Arrived'),
    numeric('Lost'),
    numeric('Share'),
    numeric('Not captured'),
    numeric('Delay variation p50'),
    numeric('p95'),
    numeric('max'),
  ];
  return html`<section id="both-ends"><h2>Both hosts</h2>
<p class="lead">What left the source, in ${fileName(bothEnds.source)}, against what reached the destination, in ${fileName(bothEnds.destination)}.</p>
<ul class="facts">${bothEndsText(report).map((sentence) => html`<li>${sentence}</li>`)}</ul>
${
  directions.length === 0
    ? ''
    : sortableTable(
        'Between the hosts',
        columns,
        directions.map((direction) => [
          cell(String(direction.connection), direction.connection),
          cell(direction.sentIn % 2 === 0 ? 'to the server' : 'to the client'),
          cell(bytes(direction.sentBytes), direction.sentBytes),
          cell(bytes(direction.arrivedBytes), direction.arrivedBytes),
          cell(bytes(direction.lostBytes), direction.lostBytes),
          cell(
            percent(direction.sentBytes > 0 ? direction.lostBytes / direction.sentBytes : null),
            direction.lostBytes,
          ),
          cell(direction.uncapturedBytes > 0 ? bytes(direction.uncapturedBytes) : count(0), direction.uncapturedBytes),
          cell(duration(direction.delayVariationNs?.p50 ?? null), direction.delayVariationNs?.p50 ?? null),
          cell(duration(direction.delayVariationNs?.p95 ?? null), direction.delayVariationNs?.p95 ?? null),
          cell(duration(direction.delayVariationNs?.max ?? null), direction.delayVariationNs?.max ?? null),
        ]),
        200,
      )
}</section>`;
}
