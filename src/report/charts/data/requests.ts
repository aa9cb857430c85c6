// Page requests of post-copy, and how long the guest waited for each.
import { duration, memory, moment, plural } from '../../format.js';
import type { Migration, ReportData } from '../../report.js';
import { type Dataset, rounded, seconds, type Value } from './dataset.js';

const REQUESTS = 2000;
/** Bars of the distribution of waits, per power of ten. */
const WAIT_BINS = 8;

/** Page requests of post-copy: each one (the slowest among them), how many waited how long, median and 99 %. */
export function requestsData(report: ReportData, migration: Migration, detail: number): Record<string, Dataset | null> {
  const table = report.tables['pageRequests'];
  const cells = (name: string): readonly Value[] => table?.columns[name]?.values ?? [];
  const latencyNs = migration.postcopy?.requestLatencyNs;
  const all = cells('migration').flatMap((id, row) => {
    const [tNs, waitNs, size] = [cells('tNs')[row], cells('latencyNs')[row], cells('bytes')[row]].map(Number);
    return id === migration.id && waitNs! >= 0 ? [{ tNs: tNs!, wait: Math.max(1e-6, waitNs! / 1e9), size: size! }] : [];
  });
  if (all.length === 0 || !latencyNs) return {};
  const limit = Math.round(REQUESTS * detail);
  const step = Math.ceil((2 * all.length) / limit);
  const slow = all.map(({ wait }) => wait).sort((a, b) => b - a)[limit >> 1] ?? 0;
  const shown = all.length <= limit ? all : all.filter(({ wait }, at) => wait > slow || at % step === 0);

  const bins = new Map<number, number>();
  for (const { wait } of all) {
    const bin = Math.floor(Math.log10(wait) * WAIT_BINS);
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
  }
  const used = [...bins.keys()].sort((a, b) => a - b);
  const edge = (bin: number): number => rounded(10 ** (bin / WAIT_BINS));
  const quantiles = [
    ['median', latencyNs.p50],
    ['99 %', latencyNs.p99],
  ] as const;
  return {
    requests: {
      t: shown.map(({ tNs }) => seconds(tNs)),
      wait: shown.map(({ wait }) => rounded(wait)),
      tip: shown.map(({ tNs, wait, size }) => `${moment(tNs)}: ${memory(size)} after ${duration(wait * 1e9)}`),
    },
    waits: {
      from: used.map(edge),
      to: used.map((bin) => edge(bin + 1)),
      count: used.map((bin) => bins.get(bin)!),
      tip: used.map(
        (bin) =>
          `${plural(bins.get(bin)!, 'request')}: ${duration(edge(bin) * 1e9)} to ${duration(edge(bin + 1) * 1e9)}`,
      ),
    },
    quantiles: {
      wait: quantiles.map(([, ns]) => rounded(Math.max(1e-6, ns / 1e9))),
      tip: quantiles.map(([name, ns]) => `${name}: ${duration(ns)}`),
    },
  };
}
