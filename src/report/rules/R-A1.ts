import { bitRate, digits, duration, memory, percent } from '../format.js';
import { RATE_LIMIT, rateLimitOf } from './rate-limit.js';
import { defineRule } from './rule.js';

const MIB = 2 ** 20;
/** Limits met in the field, bytes per second; see the catalogue for where each was read. */
const KNOWN_LIMITS: readonly { readonly rate: number; readonly whose: string }[] = [
  { rate: 32 * MIB, whose: 'the default of QEMU before 5.2' },
  { rate: 128 * MIB, whose: 'the default of QEMU since 5.2' },
  { rate: 64 * MIB, whose: 'the old default of KubeVirt' },
  { rate: 52 * MIB, whose: 'the default of vdsm' },
  { rate: 1 * MIB, whose: 'the speed Nova holds until the network ports are wired' },
  { rate: 640 * MIB, whose: 'the default of Deckhouse' },
];

export default defineRule({
  id: 'R-A1',
  title: 'Hypervisor rate limit',
  layer: 'L0',
  needs: ['timeline'],
  restsOn: ['rates', 'timing'],
  explains: ['R-E1', 'R-E2', 'R-E3', 'R-E7', 'R-E8', 'R-F1', 'R-G5'],
  thresholds: {
    ...RATE_LIMIT,
    knownLimitTolerance: { value: 0.03, unit: 'share', meaning: 'how near a rate must be to a known default' },
  },
  about: {
    meaning:
      'The sender had data and the network had room, but the hypervisor let only max-bandwidth / 10 bytes pass in each 100 ms and slept for the rest. The migration takes as long as this limit says, whatever the link could do.',
    evidence:
      'Bursts begin every 100 ms and carry equal bytes; between bursts nothing is in flight and the receive window is open. All channels of a migration share one limit, so they are summed.',
    confusedWith:
      'A CPU quota (R-C5): also 100 ms, but burst sizes vary. A traffic shaper (R-A4): no pauses, a standing queue. A busy sender thread (R-C1): irregular pauses.',
    advice: [
      'Raise or remove the limit: QMP migrate-set-parameters max-bandwidth, virsh migrate-setspeed DOMAIN MIB_PER_S, KubeVirt bandwidthPerMigration, Nova live_migration_bandwidth, Proxmox migrate_speed / bwlimit, vdsm migration_max_bandwidth.',
      'If the limit protects other traffic, weigh it against the dirtying rate: a limit near the dirtying rate never converges.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer) => {
      const limit = rateLimitOf(transfer, limits);
      if (!limit) return [];
      const { rate, share, waited, comb } = limit;
      const { precopy } = transfer;
      const precopyNs = precopy[1] - precopy[0];
      const known = KNOWN_LIMITS.find((one) => Math.abs(rate / one.rate - 1) <= limits.knownLimitTolerance);
      const costNs = share * precopyNs;
      const proof = transfer.stretches(['rate-limit'], 3, precopy);
      return [
        {
          confidence: comb ? (comb.burstByBurst ? 0.95 : 0.8) : 0.6,
          interval: proof.length > 0 ? proof : [precopy],
          metrics: {
            limitBytesPerSecond: Math.round(rate),
            waitShare: share,
            periodNs: comb?.periodNs ?? null,
            bytesPerPeriod: comb?.burstBytes ?? null,
            sizeVariation: comb?.sizeVariation ?? null,
            burstRateBytesPerSecond: comb?.burstRate ?? null,
            knownLimit: known?.whose ?? null,
          },
          text:
            `The sender is capped at about ${memory(rate)}/s (${bitRate(rate)})${known ? `, ${known.whose}` : ''}: ` +
            (comb
              ? `${memory(comb.burstBytes)} leave every ${duration(comb.periodNs)}, then nothing for ${percent(comb.silentShare)} of the time. `
              : `it waits ${percent(waited)} of the time with the window open. `) +
            `Without the cap about ${duration(costNs)} of ${duration(precopyNs)} would not be spent waiting.`,
          advice: [
            `Raise max-bandwidth above ${digits(rate / MIB)} MiB/s: QMP {"execute": "migrate-set-parameters", "arguments": {"max-bandwidth": BYTES_PER_S}} or virsh migrate-setspeed DOMAIN MIB_PER_S; both work while the migration runs.`,
            'With a manager, raise its setting instead, or it comes back: KubeVirt bandwidthPerMigration, Nova live_migration_bandwidth, Proxmox bwlimit, vdsm migration_max_bandwidth.',
          ],
          alternatives: comb
            ? [
                comb.burstByBurst
                  ? `CPU quota on the sender: excluded, burst sizes vary by only ${percent(comb.sizeVariation)}.`
                  : 'CPU quota on the sender: unlikely, bursts are about equal.',
              ]
            : ['A CPU quota with a 100 ms period: the timeline is too coarse to compare burst sizes.'],
          cost: { of: 'migration-time', ns: costNs },
          transfer,
        },
      ];
    }),
  ruledOut: ({ transfers }) =>
    transfers.every((transfer) => (transfer.limitedBy(transfer.precopy)?.['rate-limit'] ?? 1) < 0.01)
      ? 'no waiting for a 100 ms rate limit'
      : null,
});
