// HTML as a value: a template tag that escapes everything it is given, except what it made itself.
//
// There is no other way from text to markup in this program, so a name from the wire cannot become an element.
import { plain } from './format.js';

/** Finished markup. */
export class Html {
  constructor(readonly markup: string) {}
}

type Part = Html | string | number | null | undefined | false | readonly Part[];

/** html`<p>${text}</p>`: text is escaped, Html is kept, lists are joined, null and false vanish. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  let markup = strings[0]!;
  parts.forEach((part, i) => {
    markup += render(part) + strings[i + 1]!;
  });
  return new Html(markup);
}

function render(part: Part): string {
  if (part === null || part === undefined || part === false) return '';
  if (part instanceof Html) return part.markup;
  if (typeof part === 'string') return escaped(plain(part, TEXT));
  if (Array.isArray(part)) return part.map(render).join('');
  return escaped(String(part));
}

/** Characters of one text; longer ones can only come from a damaged or hostile result. */
const TEXT = 4000;
const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

const escaped = (text: string): string => text.replace(/[&<>"']/g, (mark) => ENTITIES[mark]!);

/** Text of our own with its line breaks kept. */
export const lines = (text: string): Html => new Html(text.split('\n').map(escaped).join('\n'));

/** JSON that cannot end the script element it stands in. */
export const jsonForScript = (value: unknown): Html =>
  new Html(
    JSON.stringify(value)
      .replace(/</g, '\\u003c')
      .replace(/\u2028/g, '\\u2028')
      .replace(/\u2029/g, '\\u2029'),
  );

/** A table cell: what is read, and what it sorts by. */
export interface Cell {
  readonly text: string | Html;
  readonly sort: number | string | null;
}

export interface TableColumn {
  readonly label: string;
  /** Numbers align right. */
  readonly numeric: boolean;
}

/** A table that sorts by its headers and copies as tab-separated text. */
export function sortableTable(
  caption: string,
  columns: readonly TableColumn[],
  rows: readonly (readonly Cell[])[],
  limit = 500,
): Html {
  const shown = rows.slice(0, limit);
  const left = rows.length - shown.length;
  return html`<div class="table">
<div class="table-head"><h3>${caption}</h3><button type="button" class="quiet copy-table">Copy</button></div>
<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<thead><tr>${columns.map((c) => html`<th scope="col"${c.numeric ? new Html(' class="n"') : ''}><button type="button">${c.label}</button></th>`)}</tr></thead>
<tbody>${shown.map(
    (row) => html`<tr>${row.map(
      (cell, c) =>
        html`<td${columns[c]!.numeric ? new Html(' class="n"') : ''}${cell.sort === null ? '' : html` data-sort="${cell.sort}"`}>${cell.text}</td>`,
    )}</tr>
`,
  )}</tbody></table></div>
${left > 0 ? html`<p class="note">${left} more rows are in the JSON and CSV outputs.</p>` : ''}</div>`;
}

export const numeric = (label: string): TableColumn => ({ label, numeric: true });
export const text = (label: string): TableColumn => ({ label, numeric: false });
/** A cell that sorts by `sort`, or by its text. */
export const cell = (shown: string | Html, sort: number | string | null = null): Cell => ({ text: shown, sort });
