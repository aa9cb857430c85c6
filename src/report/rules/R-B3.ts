import { bitRate, bytes, duration, percent } from '../format.js';
import { bandwidthDelayProduct, windowCeiling } from '../models/ceilings.js';
import { defineRule } from './rule.js';
import { closuresOf, SHRUNK_SHARE, shrunkShare } from './window.js';

export default defineRule({
  id: 'R-B3',
  title: 'Receive window limits the rate',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window'],
  explains: ['R-E1', 'R-E2', 'R-E3', 'R-E7', 'R-E8', 'R-F1', 'R-H7'],
  thresholds: {
    minShare: { value: 0.3, unit: 'share of pre-copy', meaning: 'time in which the window was full' },
    atCeiling: {
      value: 0.85,
      unit: 'share of window ÷ round trip',
      meaning: 'a rate so near it is set by the window, even where the window was full for less time',
    },
    minShareAtCeiling: {
      value: 0.1,
      unit: 'share of pre-copy',
      meaning: 'time with a full window that this still needs',
    },
    maxZeroWindowShare: {
      value: 0.01,
      unit: 'share of time',
      meaning: 'beyond it the destination is slow (R-C3), unless it was full ten times as long',
    },
    maxShrunkShare: SHRUNK_SHARE,
    exampleRate: { value: 125e6, unit: 'bytes/s', meaning: 'rate for which the needed window is spelled out' },
  },
  about: {
    meaning:
      'The destination’s kernel offers less buffer than the path holds: the sender fills it, then waits a round trip for room. The rate is window ÷ round trip, whatever the link could do.',
    evidence:
      'Bytes in flight equal the advertised window for a large share of the time; the window is steady and never closes.',
    confusedWith:
      'A slow destination (R-C3): there the window shrinks and closes. A small send buffer (R-B3b): flight stays below the window.',
    advice: [
      'Raise the third value of net.ipv4.tcp_rmem at the destination (and of tcp_wmem at the source) to at least bandwidth × round trip: sysctl -w net.ipv4.tcp_rmem="4096 131072 67108864".',
      'Several multifd channels have a window each.',
      'If the SYN carries no window scale option, something strips it: the window then cannot exceed 64 KiB.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const full = transfer.limitedBy(transfer.precopy)?.['receiver-window'] ?? 0;
      const closures = closuresOf(transfer);
      if (full < limits.minShareAtCeiling) return [];
      if (closures.share > limits.maxZeroWindowShare && !closures.onlySmall) return []; // R-C3
      if (shrunkShare(transfer) >= limits.maxShrunkShare) return []; // R-C3
      const { connection, forward } = transfer.mainFlow;
      const { window } = forward;
      const rttNs = forward.rttNs?.p50 ?? connection.handshakeRttNs;
      if (!window) return [];
      const { mss, windowScale } = connection.options;
      const unscaled = mss[0] !== null && mss[1] !== null && windowScale.some((scale) => scale === null);
      const ceiling = rttNs ? windowCeiling(window.p50, rttNs / 1e9) : null;
      // Several flows have a window each; the main one stands for them.
      const reached = ceiling ? forward.goodput / ceiling : 0;
      const share = reached >= limits.atCeiling ? Math.max(full, Math.min(1, reached)) : full;
      if (share < limits.minShare) return [];
      const needed = rttNs ? bandwidthDelayProduct(limits.exampleRate, rttNs / 1e9) : null;
      const precopyNs = transfer.precopy[1] - transfer.precopy[0];
      const proof = transfer.stretches(['receiver-window'], 3, transfer.precopy);
      return [
        {
          confidence: unscaled ? 0.97 : 0.92,
          interval: proof.length > 0 ? proof : [transfer.precopy],
          packets: [connection.firstFrame],
          metrics: {
            share,
            fullShare: full,
            windowBytes: window.p50,
            largestWindowBytes: window.max,
            rttNs,
            ceiling,
            goodput: transfer.goodput,
          },
          text:
            `The receive window of ${bytes(window.p50)} was full for ${percent(full)} of the time (it was never above ${bytes(window.max)}). ` +
            (ceiling !== null && rttNs
              ? `At ${duration(rttNs)} round trip that window allows ${bitRate(ceiling)}; the connection got ${bitRate(forward.goodput)}. `
              : '') +
            (unscaled ? 'Window scaling was not agreed in the handshake, so the window cannot exceed 64 KiB. ' : '') +
            (needed !== null ? `${bitRate(limits.exampleRate)} on this path needs ${bytes(needed)} of window.` : ''),
          advice: [
            unscaled
              ? 'Find what strips the window scale option (firewall “normalisation”, net.ipv4.tcp_window_scaling=0 on a host): without it no setting helps.'
              : `On the destination: sysctl -w net.ipv4.tcp_rmem="4096 131072 67108864"; on the source the same for net.ipv4.tcp_wmem. Twice the window saves about ${duration((share * precopyNs) / 2)}.`,
            'Or use multifd: every channel brings its own window (virsh migrate --parallel --parallel-connections 4).',
          ],
          alternatives: [
            closures.episodes === 0
              ? 'A slow destination: excluded, the window never closed.'
              : `A slow destination: unlikely, the window was closed for only ${percent(closures.share)} of the time.`,
          ],
          cost: { of: 'migration-time', ns: (share * precopyNs) / 2 },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => (transfer.limitedBy(transfer.precopy)?.['receiver-window'] ?? 1) < 0.05)
      ? 'the receive window was never the limit'
      : null,
});
