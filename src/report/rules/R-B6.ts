import { plural } from '../format.js';
import { anomaliesOf, countOf, framesOf } from './anomalies.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-B6',
  title: 'Packets are fragmented',
  layer: 'L0',
  needs: ['anomalies'],
  restsOn: [],
  explains: [],
  thresholds: {
    minShare: {
      value: 0.01,
      unit: 'fragments per frame',
      meaning: 'below it some other protocol fragments now and then',
    },
  },
  about: {
    meaning:
      'Packets are larger than the path takes and are cut into fragments, typically because an overlay’s headers were not allowed for. Each lost fragment loses the whole packet, and hosts spend time joining them.',
    evidence: 'IP fragments in number, around a tunnel or on the path itself.',
    confusedWith: 'Fragments of other traffic (NFS or DNS over UDP) in the same capture.',
    advice: [
      'Lower the inner MTU by the overlay’s overhead (VXLAN 50 B, Geneve 58 B, WireGuard 60–80 B), or raise the outer one. A field report went from 8800 to 1500 inside and was fast again.',
    ],
  },
  run: ({ report, transfers }, limits) => {
    const fragments = anomaliesOf(report, ['decode/fragment']);
    const share = countOf(fragments) / Math.max(1, report.capture.frames);
    const tunnelled = transfers.filter((transfer) => transfer.mainFlow.connection.encapsulation.length > 0);
    const [first] = tunnelled.length > 0 ? tunnelled : transfers;
    if (!first || share < limits.minShare) return [];
    return [
      {
        severity: 'minor',
        confidence: tunnelled.length > 0 ? 0.8 : 0.5,
        packets: framesOf(fragments),
        metrics: { fragments: countOf(fragments), share, tunnelled: tunnelled.length > 0 ? 'yes' : 'no' },
        text: `${plural(countOf(fragments), 'IP fragment')} in ${plural(report.capture.frames, 'frame')}${tunnelled.length > 0 ? ', and the migration runs in a tunnel: its inner MTU does not leave room for the outer headers.' : ': something sends packets larger than the path takes.'}`,
        advice: ['Lower the MTU of the inner interface by the tunnel’s overhead, or raise that of the outer network.'],
        transfer: first,
      },
    ];
  },
});
