import { defineRule } from './rule.js';

export default defineRule({
  id: 'R-K3',
  title: 'Clear-text migration over public addresses',
  layer: 'L0',
  needs: ['migrations'],
  restsOn: [],
  explains: ['R-K1'],
  thresholds: {},
  about: {
    meaning: 'Guest memory crosses unencrypted between public addresses, so possibly through networks of others.',
    evidence:
      'A migration stream in clear text whose addresses are neither private nor link-local (RFC 1918, RFC 4193, RFC 6598).',
    confusedWith: 'Public addresses that are only used inside one data centre.',
    advice: ['Move migrations to an isolated network, or encrypt them: virsh migrate --tls, IPsec, WireGuard.'],
  },
  run: ({ migrations }) =>
    migrations.flatMap((transfer) => {
      const { migration } = transfer;
      if (migration?.encryption !== 'none' || migration.stream.decodedBytes === 0) return [];
      const open = [migration.source, migration.destination].filter((address) => !isPrivate(address));
      const tunnelled = transfer.flows.some((flow) => flow.connection.encapsulation.length > 0);
      if (open.length === 0 || tunnelled) return [];
      return [
        {
          severity: 'minor',
          confidence: 0.7,
          packets: transfer.flows.map((flow) => flow.connection.firstFrame),
          interval: [[transfer.startNs, transfer.endNs]],
          metrics: { addresses: open.join(', ') },
          text: `Guest memory crosses in clear text between public addresses (${open.join(', ')}).`,
          advice: ['Isolate the migration network or encrypt: virsh migrate --tls.'],
          alternatives: ['The addresses may be used only inside your own network.'],
          transfer,
        },
      ];
    }),
});

/** Private, shared, link-local or loopback; unknown notations count as private. */
function isPrivate(address: string): boolean {
  const v4 = /^(?:::ffff:)?(\d+)\.(\d+)\.\d+\.\d+$/i.exec(address);
  if (!v4) return !/^[23][0-9a-f]{3}:/i.test(address); // global unicast is 2000::/3
  const [a, b] = [Number(v4[1]), Number(v4[2])];
  return (
    a === 10 ||
    a === 127 ||
    (a === 100 && b >= 64 && b < 128) ||
    (a === 169 && b === 254) ||
    (a === 172 && b >= 16 && b < 32) ||
    (a === 192 && b === 168)
  );
}
