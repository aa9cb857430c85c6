import { duration, plural } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B8',
  title: 'Slow start after idle',
  layer: 'L0',
  needs: ['timeline', 'tcpEpisodes'],
  restsOn: ['timing'],
  explains: [],
  thresholds: {
    minRttNs: { value: 5e6, unit: 'ns', meaning: 'on shorter paths the regrowth costs nothing' },
    minPauses: { value: 3, unit: 'pauses', meaning: 'before it is a pattern' },
    restartFlightBytes: {
      value: 60_000,
      unit: 'bytes',
      meaning: 'flight after the pause; Linux restarts with 10 segments',
    },
    minDrop: { value: 4, unit: 'factor', meaning: 'largest flight over that after the pause' },
  },
  about: {
    meaning:
      'After each pause between rounds TCP forgets what the path carries and starts over. With a long round trip a short round never reaches full speed.',
    evidence: 'Silences longer than a retransmission timeout, after which only about ten segments are in flight.',
    confusedWith: 'Loss (R-B1): there flight falls without a pause.',
    advice: ['On the source: sysctl -w net.ipv4.tcp_slow_start_after_idle=0.'],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const rttNs = transfer.minRttNs;
      const flow = transfer.mainFlow;
      const most = flow.forward.inFlight?.p95;
      if (rttNs === null || rttNs < limits.minRttNs || most === undefined) return [];
      const restarts = transfer.episodes('silence').filter((pause) => {
        if (pause.direction !== flow.directionId) return false;
        const endNs = pause.startNs + pause.durationNs;
        const next = transfer
          .bins(flow)
          .find((bin) => bin.startNs + bin.durationNs > endNs && bin.inFlightMaxBytes !== null);
        const flight = next?.inFlightMaxBytes ?? Number.POSITIVE_INFINITY;
        return flight <= limits.restartFlightBytes && flight * limits.minDrop <= most;
      });
      if (restarts.length < limits.minPauses) return [];
      // Doubling from ten segments to the usual flight.
      const regrowthNs = rttNs * Math.log2(most / limits.restartFlightBytes + 1);
      return [
        {
          confidence: 0.65,
          interval: restarts.map((pause) => [pause.startNs, pause.startNs + pause.durationNs] as const),
          packets: restarts.map((pause) => pause.firstFrame),
          metrics: { restarts: restarts.length, rttNs, usualFlightBytes: most },
          text: `After ${plural(restarts.length, 'pause')} TCP started over with a small window; at ${duration(rttNs)} round trip each regrowth takes about ${duration(regrowthNs)}.`,
          advice: ['On the source: sysctl -w net.ipv4.tcp_slow_start_after_idle=0.'],
          cost: { of: 'migration-time', ns: restarts.length * regrowthNs },
          transfer,
        },
      ];
    }),
});
