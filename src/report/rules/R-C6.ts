import { plural } from '../format.js';
import { ofFlow } from './path.js';
import { defineRule } from './rule.js';
import { signalsOf } from './signals.js';

export default defineRule({
  id: 'R-C6',
  title: 'Checksums left to the network card',
  layer: 'L0',
  needs: ['signals'],
  restsOn: [],
  explains: [],
  thresholds: {},
  about: {
    meaning:
      'The capture was taken on the sending host before its network card had finished the packets, or on a virtual link that never does. Other tools call these checksums bad; nothing was wrong on the wire, and the sender’s own view (windows, timers) is what the capture shows.',
    evidence:
      'The TCP checksum of the first data frames is exactly the sum over the pseudo header, which is what Linux leaves for the card to complete.',
    confusedWith:
      'Damaged packets, whose checksums are wrong in other ways and which the receiver does not acknowledge; merged segments (R-J2), which have the same origin.',
    advice: ['In Wireshark switch off “Validate the TCP checksum”; nothing needs repair.'],
  },
  run: ({ report, transfers }) => {
    const signs = signalsOf(report, 'unfinished-checksum');
    return transfers.flatMap((transfer) => {
      const flows = transfer.flows.map((flow) => ({ flow, sign: signs.find((sign) => ofFlow(sign, flow)) }));
      const seen = flows.flatMap(({ flow, sign }) => (sign ? [{ flow, sign }] : []));
      if (seen.length === 0) return [];
      return [
        {
          severity: 'info',
          confidence: 0.95,
          packets: seen.map(({ sign }) => sign.frame),
          metrics: { connections: seen.length },
          text: `${plural(seen.length, 'connection')} of ${transfer.flows.length} ${seen.length === 1 ? 'carries' : 'carry'} data frames with unfinished checksums: the capture was taken on the sending host, before its network card, or on a virtual link. No packet was damaged.`,
          transfer,
          connections: seen.map(({ flow }) => flow.connection.id),
        },
      ];
    });
  },
});
