// Holds the import directions of docs/architecture.md: a layer may import the layers below it, never above; files have
// no import cycles; outside packages appear in one place each.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../src', import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8');
  const found: Import[] = [];
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from '([^']+)';|import\('([^']+)'\)/gm)) {
    const target = match[2] ?? match[3]!;
    const to = target.startsWith('.')
      ? relative(root, join(root, dirname(file), target)).replace(/\.js$/, '.ts')
      : target;
    found.push({ from: file, to, typeOnly: match[1] !== undefined });
  }
  return found;
}

const imports = files.flatMap(importsOf);

/** Lower number = lower layer. */
function layer(file: string): number {
  if (/^(anomaly|errors|limits|columns|heap|wide-zero)\.ts$/.test(file)) return 0;
  if (file.startsWith('capture/')) return 1;
  if (file.startsWith('decode/')) return 2;
  if (file.startsWith('migration-stream/')) return 3;
  if (file === 'analyze.ts') return 4;
  if (file.startsWith('report/')) return 5;
  if (file === 'index.ts' || file === 'cli.ts' || file.startsWith('cli/')) return 6;
  throw new Error(`${file} has no layer: put it into a folder of docs/architecture.md, or add a layer there and here`);
}

const inside = imports.filter((line) => line.to.endsWith('.ts') && !line.to.startsWith('node:'));

describe('import directions', () => {
  test('a layer imports only itself and the layers below', () => {
    const upward = inside.filter((line) => layer(line.from) < layer(line.to));
    expect(upward).toEqual([]);
  });

  test('the report sees only the types of finished results', () => {
    const live = inside.filter((line) => layer(line.from) === 5 && line.to === 'analyze.ts' && !line.typeOnly);
    expect(live).toEqual([]);
  });

  test('tcp and udp decoding do not know each other', () => {
    const crossing = inside.filter(
      (line) =>
        (line.from.startsWith('decode/tcp/') && line.to.startsWith('decode/udp/')) ||
        (line.from.startsWith('decode/udp/') && line.to.startsWith('decode/tcp/')),
    );
    expect(crossing).toEqual([]);
  });

  test('migration streams see of TCP only the byte cursor and the types of results', () => {
    const deeper = inside.filter(
      (line) =>
        line.from.startsWith('migration-stream/') &&
        line.to.startsWith('decode/tcp/') &&
        line.to !== 'decode/tcp/byte-cursor.ts' &&
        !line.typeOnly,
    );
    expect(deeper).toEqual([]);
  });

  test('there are no import cycles', () => {
    const graph = new Map<string, string[]>();
    for (const line of inside) if (!line.typeOnly) graph.set(line.from, [...(graph.get(line.from) ?? []), line.to]);
    const state = new Map<string, 'open' | 'done'>();
    const cycles: string[] = [];
    const visit = (file: string, path: readonly string[]): void => {
      if (state.get(file) === 'done') return;
      if (state.get(file) === 'open') {
        cycles.push([...path.slice(path.indexOf(file)), file].join(' → '));
        return;
      }
      state.set(file, 'open');
      for (const next of graph.get(file) ?? []) visit(next, [...path, file]);
      state.set(file, 'done');
    };
    for (const file of files) visit(file, []);
    expect(cycles).toEqual([]);
  });
});

describe('outside packages', () => {
  // Package → where it may be imported; type imports aside.
  const homes: Readonly<Record<string, RegExp>> = {
    commander: /^cli\//,
    cap: /^capture\/live/,
    arquero: /^report\/tables\.ts$/,
    '@uwdata/flechette': /^report\/tables\.ts$/,
    vega: /^report\/html\.ts$/,
    'vega-lite': /^report\/html\.ts$/,
  };

  test('each has one home', () => {
    const strangers = imports.filter(
      (line) =>
        !line.to.endsWith('.ts') && !line.to.startsWith('node:') && !line.typeOnly && !homes[line.to]?.test(line.from),
    );
    expect(strangers).toEqual([]);
  });

  test('files, processes and sockets belong to capture and the command line', () => {
    const io = /^node:(fs|child_process|http|https|dgram|worker_threads|tls)|^node:net$/;
    // page.ts reads the page's own assets; redact.ts asks node:net what an address looks like.
    // Metrics may run on a thread of their own.
    const allowed = /^(capture|cli)\/|^cli\.ts$|^report\/(page|redact)\.ts$|metrics\/(aside|metrics-thread)\.ts$/;
    expect(imports.filter((line) => io.test(line.to) && !line.typeOnly && !allowed.test(line.from))).toEqual([]);
  });
});
