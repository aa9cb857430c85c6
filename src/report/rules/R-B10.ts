import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B10',
  title: 'TCP options missing',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {},
  about: {
    meaning:
      'One side, or a box in between, does without SACK, time stamps or window scaling. Without scaling the window ends at 64 KiB; without SACK each loss costs more; time stamps mostly help diagnosis.',
    evidence: 'The option is absent from a SYN or SYN-ACK that is whole in the capture.',
    confusedWith: 'A SYN cut by the snap length, which says nothing.',
    advice: [
      'sysctl net.ipv4.tcp_sack net.ipv4.tcp_timestamps net.ipv4.tcp_window_scaling should all be 1 on both hosts; otherwise look for a firewall that “normalises” options.',
    ],
  },
  run: ({ transfers }) =>
    transfers.flatMap((transfer) => {
      const flow = transfer.mainFlow;
      const { options, firstFrame } = flow.connection;
      if (options.mss.some((mss) => mss === null)) return []; // a SYN is missing or cut
      const missing = [
        ...(options.sack === false ? ['SACK'] : []),
        ...(options.timestamps === false ? ['time stamps'] : []),
        ...(options.windowScale.some((scale) => scale === null) ? ['window scaling'] : []),
      ];
      if (missing.length === 0) return [];
      const hurts =
        missing.includes('window scaling') || (missing.includes('SACK') && flow.forward.retransmittedSegments > 0);
      return [
        {
          severity: hurts ? 'minor' : 'info',
          confidence: 0.9,
          packets: [firstFrame],
          metrics: { missing: missing.join(', ') },
          text:
            `The connection does without ${missing.join(', ')}.` +
            (missing.includes('window scaling') ? ' Its window cannot exceed 64 KiB.' : '') +
            (missing.includes('SACK') && flow.forward.retransmittedSegments > 0
              ? ' Every loss takes longer to repair.'
              : ''),
          advice: [
            'Check sysctl net.ipv4.tcp_sack, tcp_timestamps and tcp_window_scaling on both hosts, then firewalls in between.',
          ],
          transfer,
          connections: [flow.connection.id],
        },
      ];
    }),
});
