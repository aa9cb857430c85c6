// What a bulk transfer inside a tunnel that cannot be opened may be: sizes and times of the packets against the habits of
// QEMU. Any copy of a file may look the same, so this never is more than a suspicion.
//
// Signs, each by itself weak:
//   quiet receiver   a migration's destination says PONG and SHUT, 8 bytes each; other protocols answer requests
//   late requests    … until it asks for pages, in post-copy
//   opening          header, configuration and block list are small messages of their own before the first pages
//   100 ms slices    the source's rate limit (max-bandwidth) lets bytes go at the beginning of each 100 ms, as would a quota
//                    of processor time
//   shrinking bursts rounds of pre-copy, each the same share of the one before, with silence while the bitmap is read
// Rounds are seen only when the path is faster than the source: otherwise the send buffer goes on while the source is
// silent, and one burst is all there is. The same holds for the pause before the switch-over.
// Source: QEMU migration/migration.c, BUFFER_DELAY; migration/savevm.c, qemu_savevm_state_header().
import type { OpaqueBurst } from '../../decode/udp/opaque-transfer.js';
import { plural } from '../format.js';
import { type InferredRounds, shrinkingRounds } from './inferred-rounds.js';

/** How the tests of a transfer weigh; what is left of certainty is never more than MAX_CONFIDENCE. */
const BULK_CONFIDENCE = 0.1;
const QUIET_CONFIDENCE = 0.2;
const OPENING_CONFIDENCE = 0.1;
const SLICES_CONFIDENCE = 0.3;
const ROUNDS_CONFIDENCE = 0.2;
const MAX_CONFIDENCE = 0.7;
/** From here on it is called a suspected migration. */
const SUSPECT_CONFIDENCE = 0.4;

/** Messages before the bulk: at least header and block list; an application with more to say is another one. */
const OPENING_MESSAGES = [1, 12] as const;
/** Requests for pages, and the share of the bulk that came before the first of them. */
const REQUESTS = 16;
const REQUESTS_AFTER_SHARE = 0.2;
/** Bursts after a pause this long begin with a slice of the rate limit; so many of them, and most of them, are a rhythm. */
const SLICE_NS = 100e6;
const SLICE_PAUSE_NS = 20e6;
const SLICE_TOLERANCE_NS = 12e6;
const SLICES = 8;
const SLICE_SHARE = 0.5;
/** A silence that long before a last, short burst is the pause before the switch-over. */
const SWITCH_PAUSE_NS = 50e6;
const LAST_BURST_SHARE = 0.02;

/** A transfer as far as it is seen; null where a carrier does not show it. */
export interface TunnelledBulk {
  readonly startNs: number;
  readonly endNs: number;
  readonly lastReplyNs: number | null;
  readonly bytes: number;
  readonly receiverQuiet: boolean | null;
  readonly receiverMessages: number | null;
  readonly bytesBeforeMessages: number | null;
  readonly openingMessages: number | null;
  readonly bursts: readonly OpaqueBurst[];
  /** False when there were more bursts than are kept. */
  readonly wholeBursts: boolean;
  /** Resolution of the bursts' times. */
  readonly stepNs: number;
}

export interface Suspicion {
  readonly verdict: 'suspected-migration' | 'unknown-bulk';
  /** 0 … 1: that it is a migration. */
  readonly confidence: number;
  /** What speaks for it, in words. */
  readonly signs: readonly string[];
  /** null with the reason why no rounds are told. */
  readonly rounds: InferredRounds | null;
  readonly noRounds: string | null;
  readonly pauses: { readonly count: number; readonly longestNs: number };
  readonly downtimeNs: number | null;
  readonly noDowntime: string | null;
}

export function suspect(bulk: TunnelledBulk): Suspicion {
  const { bursts, stepNs, receiverMessages, bytesBeforeMessages } = bulk;
  const slices = isSliced(bursts);
  const rounds = bulk.wholeBursts && !slices ? shrinkingRounds(bursts, stepNs) : null;
  const quiet = bulk.receiverQuiet === true;
  const requests =
    bulk.receiverQuiet === false &&
    (receiverMessages ?? 0) >= REQUESTS &&
    (bytesBeforeMessages ?? 0) >= REQUESTS_AFTER_SHARE * bulk.bytes;
  const messages = bulk.openingMessages ?? 0;
  const opening = (quiet || requests) && messages >= OPENING_MESSAGES[0] && messages <= OPENING_MESSAGES[1];
  // A receiver that answers in sentences is not a migration's destination, whatever the sender's rhythm.
  const talks = bulk.receiverQuiet === false && !requests;
  const signs: readonly (readonly [boolean, number, string])[] = [
    [quiet, QUIET_CONFIDENCE, 'the receiver sends nothing but acknowledgements and messages of a few bytes'],
    [requests, QUIET_CONFIDENCE, 'the receiver is as quiet until it begins to send requests, as in post-copy'],
    [opening, OPENING_CONFIDENCE, `${plural(messages, 'small message')} before the bulk`],
    [slices, SLICES_CONFIDENCE, 'bursts begin every 100 ms, as a rate limit of QEMU makes them'],
    [rounds !== null, ROUNDS_CONFIDENCE, `${rounds?.rounds.length} bursts shrink by one ratio`],
  ];
  const seen = talks ? [] : signs.filter(([holds]) => holds);
  const weight = seen.reduce((sum, [, more]) => sum + more, BULK_CONFIDENCE);
  const confidence = Math.min(MAX_CONFIDENCE, Math.round(weight * 100) / 100);
  const suspected = confidence >= SUSPECT_CONFIDENCE;
  const gaps = bursts.slice(1).map((burst, i) => burst.startNs - bursts[i]!.endNs);
  const downtimeNs = suspected && !slices ? switchPause(bulk, gaps) : null;
  return {
    verdict: suspected ? 'suspected-migration' : 'unknown-bulk',
    confidence,
    signs: seen.map(([, , words]) => words),
    rounds: suspected ? rounds : null,
    noRounds: suspected && rounds ? null : reasonWithoutRounds(bulk, slices, suspected),
    pauses: { count: gaps.length, longestNs: Math.max(0, ...gaps) },
    downtimeNs,
    noDowntime:
      downtimeNs !== null
        ? null
        : suspected
          ? 'no long pause before a last short burst: the send buffer may have kept the path busy while the guest stopped'
          : 'it is not known to be a migration',
  };
}

/** Bursts after a pause begin about 100 ms apart. */
function isSliced(bursts: readonly OpaqueBurst[]): boolean {
  const starts = bursts.filter((burst, i) => i > 0 && burst.startNs - bursts[i - 1]!.endNs >= SLICE_PAUSE_NS);
  const distances = starts.slice(1).map((burst, i) => burst.startNs - starts[i]!.startNs);
  const onBeat = distances.filter((distance) => Math.abs(distance - SLICE_NS) <= SLICE_TOLERANCE_NS).length;
  return onBeat >= SLICES && onBeat >= SLICE_SHARE * distances.length;
}

function reasonWithoutRounds(bulk: TunnelledBulk, slices: boolean, suspected: boolean): string {
  if (!suspected) return 'it is not known to be a migration';
  if (slices) return 'the rate limit’s pauses hide those between rounds';
  if (!bulk.wholeBursts) return 'more pauses than are kept';
  if (bulk.bursts.length < 2) return 'the sender never paused: the path, not the source, set the pace';
  return 'the bursts between pauses do not shrink by one ratio';
}

/** From the silence before the last, short burst to the last answer: a lower bound, for the send buffer hides its beginning. */
function switchPause({ bursts, bytes, lastReplyNs, endNs }: TunnelledBulk, gaps: readonly number[]): number | null {
  const last = bursts.at(-1);
  const gap = gaps.at(-1);
  if (!last || gap === undefined || gap < Math.max(SWITCH_PAUSE_NS, ...gaps)) return null;
  if (last.bytes > LAST_BURST_SHARE * bytes) return null;
  return Math.max(endNs, lastReplyNs ?? endNs) - (last.startNs - gap);
}
