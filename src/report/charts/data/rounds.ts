// The rounds of pre-copy: boxes on the time axis, kinds of pages, what was left to send and dirtied meanwhile.
import type { Round } from '../../../migration-stream/results.js';
import { bitRate, bytes, duration, plural } from '../../format.js';
import type { SwitchoverResult } from '../../models/switchover.js';
import type { Migration } from '../../report.js';
import { dirtiedBytes, roundRate } from '../../traffic.js';
import { type Dataset, rounded, seconds } from './dataset.js';

/** Boxes on one time axis. */
const ROUNDS = 400;

/** Some consecutive rounds drawn as one, because there are more than boxes could be told apart. */
interface RoundGroup extends Round {
  /** Index of the last round in it. */
  readonly last: number;
}

function grouped(rounds: readonly Round[], limit: number): RoundGroup[] {
  const size = Math.ceil(rounds.length / Math.max(1, limit));
  return Array.from({ length: Math.ceil(rounds.length / Math.max(1, size)) }, (_, group) => {
    const members = rounds.slice(group * size, (group + 1) * size);
    const [first] = members;
    const last = members.at(-1)!;
    const sum = (pick: (round: Round) => number): number => members.reduce((total, round) => total + pick(round), 0);
    const seconds = (last.endNs - first!.startNs) / 1e9;
    const dirtied = members.map((round) =>
      round.dirtyPagesPerSecond === null ? null : round.dirtyPagesPerSecond * ((round.endNs - round.startNs) / 1e9),
    );
    if (members.length === 1) return { ...first!, last: first!.index };
    return {
      ...first!,
      last: last.index,
      endNs: last.endNs,
      bytes: sum((round) => round.bytes),
      goodput: seconds > 0 ? sum((round) => round.bytes) / seconds : 0,
      dirtyPagesPerSecond:
        dirtied.includes(null) || seconds === 0 ? null : dirtied.reduce<number>((n, d) => n + d!, 0) / seconds,
      pages: {
        normal: sum((round) => round.pages.normal),
        zero: sum((round) => round.pages.zero),
        xbzrle: sum((round) => round.pages.xbzrle),
        compressed: sum((round) => round.pages.compressed),
      },
    };
  });
}

const nameOf = (round: RoundGroup): string =>
  round.last === round.index ? `round ${round.index}` : `rounds ${round.index} to ${round.last}`;

/** The rounds of a migration: how long and large each was, of what kinds of pages, and what was left to send. */
export function roundsData(migration: Migration, detail: number): Record<string, Dataset | null> {
  const rounds = grouped(migration.rounds, Math.round(ROUNDS * detail));
  return {
    rounds: boxesData(migration, rounds),
    kinds: kindsData(rounds),
    remaining: remainingData(migration, rounds),
    threshold: thresholdData(migration),
  };
}

function boxesData(migration: Migration, rounds: readonly RoundGroup[]): Dataset {
  const pageSize = migration.stream.pageSize;
  const dirtied = rounds.map((round) => dirtiedBytes(round, pageSize));
  return {
    index: rounds.map((round) => round.index),
    start: rounds.map((round) => seconds(round.startNs)),
    end: rounds.map((round) => seconds(Math.max(round.endNs, round.startNs + 1))),
    mid: rounds.map((round) => seconds((round.startNs + round.endNs) / 2)),
    rate: rounds.map((round) => rounded(round.goodput * 8, 4)),
    sent: rounds.map((round) => round.bytes),
    dirtied: dirtied.map((amount) => (amount === null ? null : Math.round(amount))),
    parity: rounds.map((_, i) => i % 2),
    tip: rounds.map(
      (round, i) =>
        `${nameOf(round)}: ${bytes(round.bytes)} in ${duration(round.endNs - round.startNs)} (${bitRate(roundRate(round))})` +
        `${dirtied[i] === null ? '' : `, ${bytes(dirtied[i]!)} dirtied meanwhile`}`,
    ),
  };
}

const PAGE_KINDS = ['normal', 'compressed', 'xbzrle', 'zero'] as const;

function kindsData(rounds: readonly RoundGroup[]): Dataset {
  const round: number[] = [];
  const kind: string[] = [];
  const low: number[] = [];
  const high: number[] = [];
  const tip: string[] = [];
  for (const one of rounds) {
    let at = 0;
    for (const name of PAGE_KINDS) {
      const pages = one.pages[name];
      if (pages === 0) continue;
      round.push(one.index);
      kind.push(name);
      low.push(at);
      high.push((at += pages));
      tip.push(`${nameOf(one)}: ${plural(pages, `${name} page`)}`);
    }
  }
  return { round, kind, low, high, tip };
}

/**
 * Memory left to send and memory dirtied meanwhile, as lines: each round works its pages off while the next ones gather.
 * Only the ends are known; between them the lines are straight. What a round dirtied is not known of every one.
 */
function remainingData(migration: Migration, rounds: readonly RoundGroup[]): Dataset | null {
  const pageSize = migration.stream.pageSize;
  if (pageSize === null || rounds.length < 2) return null;
  const data = { t: [] as number[], line: [] as string[], bytes: [] as number[] };
  const add = (ns: number, line: string, amount: number): void => {
    data.t.push(seconds(ns));
    data.line.push(line);
    data.bytes.push(amount);
  };
  const sizeOf = ({ pages }: (typeof rounds)[number]): number =>
    (pages.normal + pages.zero + pages.xbzrle + pages.compressed) * pageSize;
  rounds.forEach((round, i) => {
    add(round.startNs, `left ${i}`, sizeOf(round));
    add(round.endNs, `left ${i}`, 0);
    const dirtied = dirtiedBytes(round, pageSize);
    if (dirtied === null) return;
    add(round.startNs, `dirtied ${i}`, 0);
    add(round.endNs, `dirtied ${i}`, dirtied);
  });
  return { ...data, kind: data.line.map((line) => line.split(' ')[0]!) };
}

/** What would have fitted into the downtime limit at each round's end, as the switch-over model reconstructs it. */
function thresholdData(migration: Migration): Dataset | null {
  const model = migration.models['switchover'] as Partial<SwitchoverResult> | undefined;
  const rounds = Array.isArray(model?.rounds) ? model.rounds : [];
  return {
    t: rounds.map((round) => seconds(round.tNs)),
    bytes: rounds.map((round) => Math.round(round.thresholdBytes)),
  };
}
