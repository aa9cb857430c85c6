// Ceilings a path sets to one TCP connection: window, loss, line. Explanations, not alarms.
/** Bytes per second a window allows: one window per round trip. */
export const windowCeiling = (windowBytes: number, rttSeconds: number): number => windowBytes / rttSeconds;

/** Bytes in flight needed to fill a path. */
export const bandwidthDelayProduct = (bandwidth: number, rttSeconds: number): number => bandwidth * rttSeconds;

/**
 * Bytes per second under random loss for a Reno-like sender: MSS/τ · √(3/2) / √p (Mathis et al. 1997).
 * CUBIC and BBR exceed it on long fat paths.
 */
export const lossCeiling = (mssBytes: number, rttSeconds: number, loss: number): number =>
  ((mssBytes / rttSeconds) * Math.sqrt(3 / 2)) / Math.sqrt(loss);

/** Payload bytes per byte of line time on Ethernet: 40 of headers and `optionBytes` inside the MTU, 38 outside. */
export const lineEfficiency = (mtu: number, optionBytes = 12): number => (mtu - 40 - optionBytes) / (mtu + 38);

/**
 * Bytes per second under loss events for a CUBIC sender: the larger of its Reno-friendly and its cubic window.
 * Source: RFC 9438 §5.1 (average window 1.054 · RTT^¾ / p^¾ segments with the default constants).
 */
export const cubicCeiling = (mssBytes: number, rttSeconds: number, loss: number): number =>
  Math.max(lossCeiling(mssBytes, rttSeconds, loss), (mssBytes / rttSeconds) * 1.054 * (rttSeconds / loss) ** 0.75);
