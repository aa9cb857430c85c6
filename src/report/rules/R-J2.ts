import { plural } from '../format.js';
import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-J2',
  title: 'Segments merged by offload',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: [],
  thresholds: {
    minFactor: {
      value: 1.05,
      unit: 'wire segments per frame',
      meaning: 'how much larger than a segment frames must be',
    },
  },
  about: {
    meaning:
      'The capture shows frames larger than the network carried, because the sender’s network card cuts them after the capture point or the receiver’s joins them before it. Bytes and times are right; packet counts and spacing within a burst are not those of the wire.',
    evidence: 'Frames larger than the MSS; successive IP identifications that step by more than one.',
    confusedWith: 'Jumbo frames: there the MSS in the SYN is as large as the frames.',
    advice: [
      'Only if packet spacing matters: ethtool -K INTERFACE tso off gso off gro off on the recording host, which slows it down.',
    ],
  },
  run: ({ migrations, transfers }, limits) => {
    // Bulk connections by themselves share a capture, and one word about it.
    const groups =
      migrations.length > 0
        ? transfers.map((transfer) => ({ transfer, flows: transfer.flows }))
        : [{ transfer: undefined, flows: transfers.flatMap(({ flows }) => flows) }];
    return groups.flatMap(({ transfer, flows }) => {
      const merged = flows.filter(
        ({ forward }) => forward.wireSegments !== null && forward.wireSegments >= limits.minFactor * forward.dataFrames,
      );
      if (merged.length === 0) return [];
      const segments = merged.reduce((total, flow) => total + (flow.forward.wireSegments ?? 0), 0);
      const frames = merged.reduce((total, flow) => total + flow.forward.dataFrames, 0);
      return [
        {
          severity: 'info',
          confidence: 0.95,
          interval: [
            [
              Math.min(...merged.map(({ connection }) => connection.startNs)),
              Math.max(...merged.map(({ connection }) => connection.endNs)),
            ],
          ],
          packets: merged.map((flow) => flow.connection.firstFrame),
          metrics: { wireSegments: segments, frames },
          text: `${plural(frames, 'frame')} stand for ${plural(segments, 'segment')} on the wire (segmentation offload). Bytes and rates are exact; spacing inside a burst is not the network’s.`,
          ...(transfer ? { transfer } : {}),
          connections: merged.map((flow) => flow.connection.id),
        },
      ];
    });
  },
});
