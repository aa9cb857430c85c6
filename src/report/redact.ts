// A result without addresses and chosen names: the same original always becomes the same stand-in, so relations survive.
//
// Replaced: IP and MAC addresses, host names, file names, tunnel ids, and names an operator may have chosen (disks, devices
// and memory objects with an id). Kept: ports, times, amounts, addresses that name nobody, and names that are compiled into
// QEMU, because the diagnosis is about them.
import { isIP } from 'node:net';
import type { Location } from '../anomaly.js';
import type { JsonTable, ReportData } from './report.js';

type Kind = 'host' | 'mac' | 'name' | 'file' | 'slot' | 'memory' | 'tunnel';

/** A copy of the result with stand-ins; the original is not changed. */
export function redact(report: ReportData): ReportData {
  const copy = structuredClone(report);
  const names = new StandIns();
  copy.capture.inputs.forEach((input) => {
    input.name = `${names.of('file', input.name)}.${input.format}`;
  });
  for (const { client, server } of [...copy.connections, ...copy.flows] as { client: Host; server: Host }[]) {
    client.address = names.address(client.address);
    server.address = names.address(server.address);
  }
  for (const path of [...copy.connections, ...copy.flows] as { encapsulation: readonly string[] }[]) {
    path.encapsulation = path.encapsulation.map((layer) => names.layer(layer));
  }
  // Behind the software's name in an SSH greeting stands whatever its operator chose (RFC 4253 §4.2).
  for (const { opaque } of copy.connections) if (opaque?.banner) opaque.banner = opaque.banner.split(' ', 1)[0]!;
  for (const migration of copy.migrations) {
    migration.source = names.address(migration.source);
    migration.destination = names.address(migration.destination);
    for (const block of migration.ramBlocks) block.name = names.ramBlock(block.name);
    for (const device of migration.devices) device.name = names.device(device.name);
    if (migration.proxies)
      migration.proxies = migration.proxies.map(({ kind, from, to }) => ({
        kind,
        from: from && names.endpoint(from),
        to: to && names.endpoint(to),
      }));
    migration.disks = migration.disks.map((disk) => ({ ...disk, name: names.of('name', disk.name) }));
  }
  for (const [name, table] of Object.entries(copy.tables)) copy.tables[name] = redactTable(table, names);
  for (const flow of copy.flows) {
    flow.facts = Object.fromEntries(
      Object.entries(flow.facts).map(([key, value]) => [
        key,
        typeof value !== 'string'
          ? value
          : /name|host|sni|id$/i.test(key)
            ? names.of('name', value)
            : names.inText(value),
      ]),
    );
  }
  if (copy.bothEnds) {
    const { source, destination } = copy.bothEnds;
    copy.bothEnds = {
      ...copy.bothEnds,
      source: names.of('file', source),
      destination: names.of('file', destination),
    };
  }
  const placed = <P extends Location>(place: P): P =>
    place.detail === undefined ? place : { ...place, detail: names.quoted(place.detail) };
  copy.anomalies = copy.anomalies.map((anomaly) => ({
    ...anomaly,
    first: placed(anomaly.first),
    last: placed(anomaly.last),
    samples: anomaly.samples.map(placed),
  }));
  // Sentences come last: by now every original that may stand in them is known.
  const { tables, ...rest } = copy;
  return { ...inSentences(rest, names), tables };
}

interface Host {
  address: string;
}

function redactTable(table: JsonTable, names: StandIns): JsonTable {
  const columns = Object.fromEntries(
    Object.entries(table.columns).map(([name, column]) => {
      if (!column.values.some((value) => typeof value === 'string')) return [name, column];
      const stand = (text: string): string => {
        if (column.unit === 'address') return names.address(text);
        if (name === 'name') return names.of('name', text);
        return name === 'encapsulation'
          ? text
              .split(' / ')
              .map((layer) => names.layer(layer))
              .join(' / ')
          : names.inText(text);
      };
      return [name, { ...column, values: column.values.map((v) => (typeof v === 'string' ? stand(v) : v)) }];
    }),
  );
  return { ...table, columns };
}

/** Fields with words of our own, which a chosen name may happen to equal. */
const OURS =
  /^(?:schema|start|transport|endedBy|vantage|channel|outcome|encryption|kind|code|severity|origin|rule|title|of|explains)$/;

/** The same value with every string in it, at any depth, searched for originals. */
function inSentences<T>(value: T, names: StandIns): T {
  if (typeof value === 'string') return names.inText(value) as T;
  if (Array.isArray(value)) return value.map((item) => inSentences(item, names)) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, OURS.test(key) ? item : inSentences(item, names)]),
  ) as T;
}

// What may be an address inside a sentence; isIP decides, so a time or a PCI path stays.
const CANDIDATE = /[0-9a-f]*[:.][0-9a-f:.]*[0-9a-f:]/gi;
/** Addresses of no host in particular: unspecified and loopback. */
const NOBODY = /^(?:0\.0\.0\.0|127\.\d+\.\d+\.\d+|::1?|00:00:00:00:00:00)$/;
const MAC = /^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$/i;
/** A PCI path as QEMU writes it in front of a device: 0000:00:03.0. */
const PCI = /^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$/i;
/** RAM blocks whose names are compiled into QEMU (hw/, memory_region_init_ram and rom_add). */
const BUILT_IN_RAM =
  /^(?:pc\.(?:ram|bios|rom)|mach-virt\.ram|ram|system\.flash\d|virt\.flash\d|\/rom@etc\/[\w/-]+|[\w-]*vga\.vram)$/;

class StandIns {
  readonly #known = new Map<string, string>();
  readonly #counts = new Map<Kind, number>();
  #search: RegExp | null = null;

  /** The stand-in of `original`; made when it is seen for the first time. */
  of(kind: Kind, original: string): string {
    if (original === '') return '';
    const known = this.#known.get(original);
    if (known !== undefined) return known;
    const stand = this.#next(kind);
    this.#learn(original, stand);
    return stand;
  }

  #next(kind: Kind): string {
    const n = (this.#counts.get(kind) ?? 0) + 1;
    this.#counts.set(kind, n);
    return `${kind}-${n}`;
  }

  #learn(original: string, stand: string): void {
    this.#known.set(original, stand);
    this.#search = null;
  }

  address(text: string): string {
    return NOBODY.test(text) ? text : this.of(MAC.test(text) ? 'mac' : 'host', text);
  }

  /** HOST:PORT; an IPv6 address stands in brackets. */
  endpoint(text: string): string {
    const [, host, port] = /^\[?(.*?)\]?(:\d*)?$/s.exec(text)!;
    return `${this.address(host!)}${port ?? ''}`;
  }

  /** A path-like name keeps its last part, which is compiled in; what is in front of it may be chosen. */
  device(name: string): string {
    const cut = name.lastIndexOf('/');
    if (cut < 0) return name;
    const place = name.slice(0, cut);
    return `${PCI.test(place) ? place : this.of('slot', place)}${name.slice(cut)}`;
  }

  ramBlock(name: string): string {
    const cut = name.startsWith('/') ? -1 : name.lastIndexOf('/');
    if (cut > 0) return this.device(name);
    return BUILT_IN_RAM.test(name) ? name : this.of('memory', name);
  }

  /** 'vxlan:42' is replaced as a whole: its number alone would be found in every sentence. */
  layer(label: string): string {
    const cut = label.indexOf(':');
    const known = this.#known.get(label);
    if (cut < 0 || known !== undefined) return known ?? label;
    const stand = `${label.slice(0, cut)}:${this.#next('tunnel')}`;
    this.#learn(label, stand);
    return stand;
  }

  /** What an anomaly quotes: 'RAM block 'x' …', 'section 'y''. */
  quoted(detail: string): string {
    return detail.replace(
      /(RAM block )?'(.*)'/s,
      (_, block: string | undefined, name: string) =>
        `${block ?? ''}'${block ? this.ramBlock(name) : this.device(name)}'`,
    );
  }

  /** Text with every known original and every address in it replaced. */
  inText(text: string): string {
    const whole = this.#known.get(text);
    if (whole !== undefined) return whole;
    if (this.#search === null && this.#known.size > 0) {
      // Single letters and plain numbers would hit ordinary text; longer ones first, so that a prefix does not break its
      // extension.
      const originals = [...this.#known.keys()].filter((original) => original.length >= 2 && /\D/.test(original));
      originals.sort((a, b) => b.length - a.length);
      const pattern = originals.map((original) => original.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
      this.#search = pattern === '' ? null : new RegExp(`(?<![\\w-])(?:${pattern})(?![\\w-])`, 'g');
    }
    const known = this.#search ? text.replace(this.#search, (original) => this.#known.get(original)!) : text;
    return known.replace(CANDIDATE, (text) => (isIP(text) > 0 || MAC.test(text) ? this.address(text) : text));
  }
}
