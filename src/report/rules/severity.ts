// When something is worth acting on: thresholds that all rules share.
/** A cost from here on is major: this share of the migration's time, and long enough to be felt … */
export const MAJOR_TIME_SHARE = 0.2;
export const MAJOR_TIME_NS = 500e6;
/** … or this many times the accepted downtime. */
export const MAJOR_DOWNTIME_FACTOR = 2;
/** A cost below this share, or this time, is not worth acting on. */
export const MINOR_TIME_SHARE = 0.03;
export const MINOR_TIME_NS = 100e6;
