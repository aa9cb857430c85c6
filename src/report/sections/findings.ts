// What stood in the way: shares of sending time, then findings with proof, advice, and what else they could have been.
import { duration, percent, plural, unbroken } from '../format.js';
import { type Html, html } from '../markup.js';
import type { Finding } from '../report.js';
import type { RuledOut } from '../rules/rule.js';
import type { Traffic } from '../traffic.js';
import { chainsOf, isCause, noCause, proofTime, TONES } from '../verdict.js';
import { shareBar } from './figure.js';
import { quantity, words } from './quantity.js';

/** Findings shown of a kind; more can only come from a capture made to produce them. */
const SHOWN = 40;

/** @param excluded  what the rules could rule out; @param id  of the section, for links */
export function findingsSection(
  findings: readonly Finding[],
  traffic: Traffic | null,
  excluded: readonly RuledOut[],
  id: string,
): Html {
  const causes = findings.filter(isCause).slice(0, SHOWN);
  const idOf = (finding: Finding): string => `${id}-${causes.indexOf(finding) + 1}`;
  const notes = findings.filter((finding) => !isCause(finding)).slice(0, SHOWN);
  const left = findings.length - causes.length - notes.length;
  const lead =
    causes.length === 0
      ? noCause
      : html`Ordered by what fixing them would save. <span class="by-hand">A proof moves the charts to its moment.</span>`;
  return html`<section id="${id}"><h2>What stood in the way</h2><p class="lead">${lead}</p>
${traffic && traffic.limits.length > 0 ? shareBar(traffic.limits) : ''}
${causes.length > 0 ? html`<ol class="findings">${chainsOf(causes).map(({ cause, symptoms }) => findingItem(cause, idOf(cause), chained(symptoms, idOf)))}</ol>` : ''}
${notes.length > 0 ? html`<details class="more"><summary>Good to know (${notes.length})</summary><ol class="findings">${notes.map((finding) => findingItem(finding))}</ol></details>` : ''}
${left > 0 ? html`<p class="note">${plural(left, 'more finding')} in the JSON result.</p>` : ''}
${excluded.length > 0 ? html`<details class="more"><summary>Ruled out (${excluded.length})</summary><ul class="facts">${excluded.map(({ rule, title, text }) => html`<li>${title}: ${text} <span class="neutral">(${rule})</span></li>`)}</ul></details>` : ''}</section>`;
}

/** Findings that follow from another one, to stand inside it. */
const chained = (symptoms: readonly Finding[], idOf: (finding: Finding) => string): Html =>
  symptoms.length === 0
    ? html``
    : html`<p class="hence">From this follows</p><ol class="findings">${symptoms.map((symptom) => findingItem(symptom, idOf(symptom)))}</ol>`;

/** Causes named under the headline. */
const WHY = 3;

/** The costliest causes in a line, each a link to its finding; nothing where there are none. */
export function whyLine(findings: readonly Finding[], id: string): Html {
  const causes = findings.filter(isCause);
  // What is wrong with the capture is no reason for what happened.
  const chains = chainsOf(causes).filter(({ cause }) => !cause.rule.startsWith('R-J'));
  if (chains.length === 0) return html``;
  const link = (finding: Finding): Html => html`<a href="#${id}-${causes.indexOf(finding) + 1}">${finding.title}</a>`;
  const links = chains
    .slice(0, WHY)
    .map(({ cause, symptoms }, i) => [
      i > 0 ? ' · ' : '',
      link(cause),
      symptoms.slice(0, WHY).map((symptom, at) => html`${at === 0 ? ' → ' : ', '}${link(symptom)}`),
    ]);
  const left = chains.length - WHY;
  return html`<p class="why"><b>Why:</b> ${links}${left > 0 ? ` · and ${left} more` : ''}</p>`;
}

/** One finding as an item of a list; `inside` it stands what follows from it. */
export function findingItem(finding: Finding, id = '', inside = html``): Html {
  // The viewer takes the first of these that has charts.
  const scenes =
    finding.migration === null ? finding.connections.slice(0, 8).map((id) => `c${id}`) : [`m${finding.migration}`];
  const proofs = finding.interval
    .slice(0, 6)
    .map(
      ([from, to]) =>
        html`<button type="button" class="proof" data-proof="${scenes.join(' ')}" data-from="${from / 1e9}" data-to="${to / 1e9}">${proofTime([from, to], ' – ')}</button>`,
    );
  const frames = finding.packets.slice(0, 20);
  const filter = frames.map((frame) => `frame.number == ${frame}`).join(' || ');
  const save = finding.cost
    ? ` · fixing this saves about ${duration(finding.cost.ns)} of ${finding.cost.of === 'downtime' ? 'downtime' : 'migration time'}`
    : '';
  const metrics = Object.entries(finding.metrics);
  const more = finding.interval.length - proofs.length;
  return html`<li class="finding ${TONES[finding.severity]}"${id === '' ? '' : html` id="${id}"`}><h3>${finding.title}</h3>
<p class="meta">${finding.severity} · ${finding.rule} · confidence ${percent(finding.confidence)}${save}</p>
<p>${unbroken(finding.text)}</p>
${finding.advice.length > 0 ? html`<ul>${finding.advice.map((advice) => html`<li>${advice}</li>`)}</ul>` : ''}
<div class="proofs">${proofs}${more > 0 ? html`<span class="note">and ${more} more</span>` : ''}${
    frames.length > 0
      ? html`<button type="button" class="copy-filter" data-copy="${filter}">Copy Wireshark filter (${plural(frames.length, 'frame')})</button>`
      : ''
  }</div>
<details><summary>Measured, and what else it could have been</summary>
${metrics.length > 0 ? html`<dl class="metrics">${metrics.map(([name, value]) => html`<dt>${words(name)}</dt><dd>${quantity(name, value)}</dd>`)}</dl>` : ''}
${frames.length > 0 ? html`<p class="note">Frames ${frames.join(', ')}</p>` : ''}
${finding.alternatives.map((text) => html`<p>${text}</p>`)}
${finding.explains.length > 0 ? html`<p class="note">Explains ${finding.explains.join(', ')}.</p>` : ''}</details>${inside}</li>`;
}
