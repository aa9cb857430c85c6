import { bytes, duration, plural } from '../format.js';
import { defineRule } from './rule.js';
import { tooBigAbout } from './signals.js';
import type { TcpEvent } from './transfer.js';

export default defineRule({
  id: 'R-B5',
  title: 'MTU black hole',
  layer: 'L0',
  needs: ['tcpEvents'],
  restsOn: ['loss'],
  explains: ['R-B1', 'R-B2', 'R-H2', 'R-H7', 'R-C3', 'R-E7', 'R-H3'],
  thresholds: {
    minTries: { value: 3, unit: 'retransmissions', meaning: 'of the same bytes without an answer' },
    minSegmentBytes: { value: 500, unit: 'bytes', meaning: 'smaller segments pass any MTU' },
    maxAckedBytes: {
      value: 65536,
      unit: 'bytes',
      meaning: 'more acknowledged than this, and full-size segments did pass',
    },
  },
  about: {
    meaning:
      'The connection opens, small segments pass, every full-size one vanishes: some hop has a smaller MTU than the hosts believe, and nobody tells them. The migration hangs near 0 %.',
    evidence:
      'The handshake completes; the first full-size segments are repeated at doubling intervals and never acknowledged.',
    confusedWith:
      'A blocked port (R-H1): there the handshake fails. A path outage, or one of several channels that starves (R-B2, R-D2): full-size segments were acknowledged before it or beside it. A destination that stopped reading (R-C3): it still answers with a closed window.',
    advice: [
      'Test from the source: ping -M do -s 8972 DESTINATION (MTU 9000), then -s 1472 (MTU 1500). The largest that passes + 28 is the path’s MTU.',
      'Make the MTU equal on hosts, bridges, VLANs and switches; leave room for overlays (VXLAN 50 B, Geneve 58 B, WireGuard 60–80 B).',
      'As a stopgap: sysctl net.ipv4.tcp_mtu_probing=1 on both hosts, or clamp the MSS (iptables -t mangle … --clamp-mss-to-pmtu).',
    ],
  },
  run: ({ report, transfers }, limits) =>
    transfers.flatMap((transfer) => {
      // Full-size segments that arrived on any connection between the hosts prove that the path takes them.
      if (transfer.flows.some(({ forward }) => (forward.ackedBytes ?? 0) > limits.maxAckedBytes)) return [];
      return transfer.flows.flatMap(({ connection, forward, directionId }) => {
        const repeated = transfer
          .events(
            'retransmission-timeout',
            'retransmission-tail-loss-probe',
            'retransmission-other',
            'retransmission-fast',
          )
          .filter((event) => event.direction === directionId);
        const stuck = longestRepetition(repeated);
        const first = stuck[0];
        const last = stuck.at(-1);
        if (!first || !last || stuck.length < limits.minTries) return [];
        const acked = Math.max(0, first.offset);
        const largest = Math.max(...stuck.map((event) => event.bytes));
        if (largest < limits.minSegmentBytes || (forward.ackedBytes ?? 0) > acked) return [];
        const { mss } = connection.options;
        const tooBig = tooBigAbout(report, connection.server.address);
        const mtu = tooBig.find((signal) => signal.mtu !== null)?.mtu ?? null;
        return [
          {
            severity: 'fatal' as const,
            confidence: tooBig.length > 0 || mss.some((size) => size !== null && size > 1460) ? 0.92 : 0.8,
            packets: [...stuck.map((event) => event.frame), ...tooBig.map((signal) => signal.frame)],
            interval: [[first.tNs, Math.max(last.tNs, connection.endNs)] as const],
            metrics: {
              tries: stuck.length,
              smallestLostBytes: Math.min(...stuck.map((event) => event.bytes)),
              ackedBytes: acked,
              mssClient: mss[0],
              mssServer: mss[1],
              pathMtu: mtu,
              outstandingBytes: Math.max(0, forward.uniqueBytes - acked),
            },
            text:
              `The connection opened (round trip ${duration(connection.handshakeRttNs)}), but the first large segment (${bytes(largest)}) was sent ${plural(stuck.length + 1, 'time')} over ${duration(last.tNs - first.tNs)} and never acknowledged; only ${bytes(acked)} got through. ` +
              (mtu !== null
                ? `A router says the path takes ${mtu} B packets.`
                : `Packets of this size vanish and nobody reports it (MSS ${mss[0] ?? '?'} / ${mss[1] ?? '?'} B): the path’s MTU is smaller than the hosts believe.`),
            advice: [
              `Find the size that passes: ping -M do -s 1472 ${connection.server.address}, and downwards (MTU = size + 28).`,
              'Set the same MTU on hosts, bridges, VLANs and switches. Until then: sysctl net.ipv4.tcp_mtu_probing=1 on both hosts.',
            ],
            alternatives: [
              'The path broke right after the handshake, or a firewall drops the data but not the handshake: small pings then fail too, or only this port does.',
            ],
            transfer,
            connections: [connection.id],
          },
        ];
      });
    }),
  ruledOut: ({ transfers }) =>
    transfers.some((transfer) => transfer.bytes > 1e6)
      ? 'full-size segments were acknowledged, so no MTU black hole'
      : null,
});

/** The longest run of repetitions that begin at the same byte. */
function longestRepetition(events: readonly TcpEvent[]): readonly TcpEvent[] {
  const groups = new Map<number, TcpEvent[]>();
  for (const event of events) {
    const group = groups.get(event.offset);
    if (group) group.push(event);
    else groups.set(event.offset, [event]);
  }
  let best: TcpEvent[] = [];
  for (const group of groups.values()) if (group.length > best.length) best = group;
  return best.sort((a, b) => a.tNs - b.tNs);
}
