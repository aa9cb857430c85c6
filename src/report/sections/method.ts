// How these numbers were made: definitions, methods used here, and what was left out.
import { count, plural } from '../format.js';
import { type Html, html } from '../markup.js';
import type { ReportData } from '../report.js';

export function methodSection(report: ReportData): Html {
  const boundaries = new Set(report.migrations.flatMap((migration) => migration.rounds.map((round) => round.boundary)));
  const timeline = report.tables['timeline'];
  const omitted = Object.entries(report.tables).filter(([, table]) => (table.omitted ?? 0) > 0);
  return html`<section id="method"><h2>How these numbers were made</h2><div class="prose">
<h3>Time</h3><p>Time 0 is the capture’s first frame${report.capture.start === null ? '' : `, ${report.capture.start}`}. All times are those of the capture point; a source-side time precedes the same event at the destination by half a round trip.</p>
<h3>Rates</h3><p>Throughput counts every TCP payload byte, goodput only bytes seen for the first time. Averages run from the first to the last frame of the migration. Bytes are decimal (1 MB = 1,000,000 bytes), guest memory is binary (1 MiB = 1,048,576 bytes).</p>
<h3>Retransmissions and round trips</h3><p>A segment counts as retransmitted when its bytes were sent before; frames captured twice, keep-alives and window probes do not count. Round trips pair data with the acknowledgement that covers it and leave out retransmitted data.</p>
<h3>What held the sender back</h3><p>Every moment of sending belongs to exactly one cause, decided from bytes in flight, the advertised window, losses, and the rhythm of sending; the shares add up to 100 %.</p>
<h3>Rounds</h3><p>${boundaries.size > 0 ? `Boundaries here were known by: ${[...boundaries].join(', ')}. ` : ''}A new round begins when a page is sent that the current round has sent already, or where the stream itself says so. Pages of a round are those dirtied during the round before it, which gives the dirty rate; writes to a page that is dirty already cannot be seen.</p>
<h3>Downtime</h3><p>The wire shows when the last data of a running guest and the end of the hand-over passed, not when the guest’s processors stopped. Downtime is therefore an interval with an estimate inside.</p>
<h3>What the charts leave out</h3><p>${timeline ? `The timeline holds ${plural(timeline.rows, 'bin')}. ` : ''}Long runs are drawn in wider bins: amounts add up, and the smallest and largest round trip, window and flight of a bin are kept.${omitted.length > 0 ? ` Left out to stay small: ${omitted.map(([name, table]) => `${count(table.omitted ?? 0)} rows of ${name}`).join(', ')}.` : ''}</p>
<h3>Privacy</h3><p>The page holds addresses and names from the capture (stand-ins for them with --redact) but no guest memory. It loads nothing and sends nothing. Made by migscope ${report.generator.version} from the JSON result alone.</p>
</div></section>`;
}
