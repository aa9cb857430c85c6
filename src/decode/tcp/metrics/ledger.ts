// Ledger: the time of each sender, charged to what held it back; what that was is judged by limits.ts.
//
// Time goes into a sum per limit and into the timeline. What was charged may be charged anew when more is known: pauses that
// turn out to be in step with a 100 ms clock (comb.ts) are the rate limiter's.
import { LIMITS } from '../results.js';
import { Comb, PAUSE_NS, type Pause } from './comb.js';
import type { MetricContext } from './metric.js';
import { SERIES_LIMIT } from './timelines.js';

export const APPLICATION = LIMITS.indexOf('sender-application');
export const RECEIVER_WINDOW = LIMITS.indexOf('receiver-window');
export const CONGESTION = LIMITS.indexOf('congestion');
export const RECOVERY = LIMITS.indexOf('recovery');
export const SEND_BUFFER = LIMITS.indexOf('send-buffer');
export const IDLE = LIMITS.indexOf('idle');
const RATE_LIMIT = LIMITS.indexOf('rate-limit');

/** Time of one limit enters the timeline at least this often. */
const OPEN_NS = 10e6;

/** What was charged of one sender's time. */
export class Account {
  /** Time charged to each limit. Made when it is needed, as the comb: most connections never send twice. */
  spentNs: Float64Array | null = null;
  comb: Comb | null = null;
  /** Who held back the latest burst. */
  heldBy = CONGESTION;
  /** The latest time charged to one limit that is not in the timeline yet. */
  openLimit = CONGESTION;
  openFromNs = Number.NaN;
  openToNs = Number.NaN;

  spend(limit: number, ns: number): void {
    this.spentNs ??= new Float64Array(LIMITS.length);
    this.spentNs[limit]! += ns;
  }
}

/** `id` is the direction, limits are places in LIMITS, times as in rows. */
export interface Ledger {
  charge(id: number, account: Account, limit: number, fromNs: number, toNs: number): void;
  /** Charges a pause that window and network do not explain; `sentBytes` is all that was sent before. */
  pause(id: number, account: Account, limit: number, fromNs: number, toNs: number, sentBytes: number): void;
  /** `ns` of the time from `fromNs` to `toNs` were charged to `limit`, and are `to`'s. */
  chargeAnew(id: number, account: Account, limit: number, to: number, fromNs: number, toNs: number, ns: number): void;
  /** Nothing more comes. */
  close(id: number, account: Account): void;
}

export function createLedger({ timelines }: Pick<MetricContext, 'timelines'>): Ledger {
  /** Enters what is open into the timeline. */
  const settle = (id: number, account: Account): void => {
    timelines.find(id)?.spread(SERIES_LIMIT + account.openLimit, account.openFromNs, account.openToNs);
    account.openFromNs = account.openToNs = Number.NaN;
  };
  const charge: Ledger['charge'] = (id, account, limit, fromNs, toNs) => {
    account.spend(limit, toNs - fromNs);
    if (limit !== RECOVERY) account.heldBy = limit;
    if (limit === account.openLimit && fromNs === account.openToNs && toNs - account.openFromNs < OPEN_NS) {
      account.openToNs = toNs;
      return;
    }
    settle(id, account);
    account.openLimit = limit;
    account.openFromNs = fromNs;
    account.openToNs = toNs;
  };
  const chargeAnew: Ledger['chargeAnew'] = (id, account, limit, to, fromNs, toNs, ns) => {
    settle(id, account);
    account.spend(limit, -ns);
    account.spend(to, ns);
    timelines.find(id)?.move(SERIES_LIMIT + limit, SERIES_LIMIT + to, fromNs, toNs);
  };
  const toRateLimit = (id: number, account: Account, pauses: readonly Pause[]): void => {
    for (const { fromNs, toNs, state } of pauses) {
      chargeAnew(id, account, state, RATE_LIMIT, fromNs, toNs, toNs - fromNs);
    }
  };
  return {
    charge,
    chargeAnew,
    pause(id, account, limit, fromNs, toNs, sentBytes) {
      charge(id, account, limit, fromNs, toNs);
      if (toNs - fromNs < PAUSE_NS) return;
      account.comb ??= new Comb();
      toRateLimit(id, account, account.comb.pause(fromNs, toNs, limit, sentBytes));
    },
    close(id, account) {
      settle(id, account);
      if (account.comb) toRateLimit(id, account, account.comb.finish());
    },
  };
}
