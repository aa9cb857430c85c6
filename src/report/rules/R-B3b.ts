import { bitRate, bytes, duration, percent } from '../format.js';
import { windowCeiling } from '../models/ceilings.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B3b',
  title: 'Send buffer limits the rate',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['window'],
  explains: ['R-E1', 'R-E2', 'R-E7', 'R-E8', 'R-F1'],
  thresholds: {
    minShare: {
      value: 0.3,
      unit: 'share of pre-copy',
      meaning: 'time in which flight stood at a constant below the window',
    },
  },
  about: {
    meaning: 'The source’s kernel buffers less than the path holds, so no more than that is ever in flight.',
    evidence:
      'Bytes in flight stay at one level below the receive window for many round trips, without loss and without a growing queue.',
    confusedWith: 'Loss (R-B1), where flight falls and regrows; the receive window (R-B3), where flight touches it.',
    advice: [
      'Raise the third value of net.ipv4.tcp_wmem on the source: sysctl -w net.ipv4.tcp_wmem="4096 65536 67108864".',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const share = transfer.limitedBy(transfer.precopy)?.['send-buffer'] ?? 0;
      const { forward } = transfer.mainFlow;
      // Flight stands as still below a window whose scale is not in the capture.
      if (share < limits.minShare || !forward.inFlight || !forward.window) return [];
      const rttNs = forward.rttNs?.p50 ?? transfer.minRttNs;
      const precopyNs = transfer.precopy[1] - transfer.precopy[0];
      const proof = transfer.stretches(['send-buffer'], 3, transfer.precopy);
      return [
        {
          confidence: 0.7,
          interval: proof.length > 0 ? proof : [transfer.precopy],
          metrics: { share, flightBytes: forward.inFlight.p95, windowBytes: forward.window.p50, rttNs },
          text:
            `For ${percent(share)} of the time ${bytes(forward.inFlight.p95)} were in flight, never more, although the window would take ${bytes(forward.window.p50)}: the source’s send buffer is full.` +
            (rttNs
              ? ` At ${duration(rttNs)} round trip that is ${bitRate(windowCeiling(forward.inFlight.p95, rttNs / 1e9))}.`
              : ''),
          advice: [
            'On the source: sysctl -w net.ipv4.tcp_wmem="4096 65536 67108864", then migrate again (buffers are set when the connection opens).',
          ],
          alternatives: [
            'A congestion window that does not grow, for instance a clamp on the route (ip route … cwnd) looks the same.',
          ],
          cost: { of: 'migration-time', ns: (share * precopyNs) / 2 },
          transfer,
        },
      ];
    }),
});
