// How far the capture itself can be trusted: facts, anomalies, input files.
import { ANOMALIES, type Anomaly } from '../../anomaly.js';
import { bytes, count, moment, plain } from '../format.js';
import { cell, type Html, html, numeric, sortableTable, text } from '../markup.js';
import type { ReportData } from '../report.js';
import { captureNotes, qualityOf } from '../verdict.js';

export function captureSection(report: ReportData): Html {
  const quality = qualityOf(report);
  return html`<section id="capture"><h2>Capture quality</h2><p class="lead ${quality.tone}">${quality.headline}</p>
<ul class="facts">${quality.facts.map((fact) => html`<li>${fact}</li>`)}${captureNotes(report).map((note) => html`<li>${note.text} <span class="neutral">(${note.rule})</span></li>`)}</ul>
${report.anomalies.length > 0 ? anomalyTable(report.anomalies) : ''}
${inputTable(report)}</section>`;
}

function anomalyTable(anomalies: readonly Anomaly[]): Html {
  return sortableTable(
    'Anomalies',
    [
      text('Severity'),
      text('Origin'),
      text('What'),
      numeric('Times'),
      numeric('First frame'),
      numeric('First at'),
      text('Detail'),
    ],
    anomalies.map((anomaly) => [
      cell(anomaly.severity),
      cell(anomaly.origin),
      cell(ANOMALIES[anomaly.code]?.text ?? anomaly.text),
      cell(count(anomaly.count), anomaly.count),
      cell(anomaly.first.frame === undefined ? '–' : String(anomaly.first.frame), anomaly.first.frame ?? null),
      cell(moment(anomaly.first.tNs ?? null), anomaly.first.tNs ?? null),
      cell(plain(anomaly.first.detail ?? '', 120)),
    ]),
    200,
  );
}

function inputTable({ capture }: ReportData): Html {
  return sortableTable(
    'Input files',
    [
      text('Name'),
      text('Format'),
      text('Link types'),
      numeric('Frames'),
      numeric('On the wire'),
      numeric('Captured'),
      numeric('Cut frames'),
      numeric('Dropped'),
    ],
    capture.inputs.map((input) => [
      cell(plain(input.name, 120)),
      cell(
        `${input.format}${input.compression === null ? '' : ` in ${input.compression}`}, ${input.timestampResolutionNs <= 1 ? 'ns' : input.timestampResolutionNs <= 1000 ? 'µs' : 'coarse'} time stamps`,
      ),
      cell(input.linkTypes.map((type) => plain(type, 40)).join(', ')),
      cell(count(input.frames), input.frames),
      cell(bytes(input.wireBytes), input.wireBytes),
      cell(bytes(input.capturedBytes), input.capturedBytes),
      cell(count(input.cutFrames), input.cutFrames),
      cell(input.droppedByCapture === null ? 'unknown' : count(input.droppedByCapture), input.droppedByCapture),
    ]),
  );
}
