import { bitRate, bytes, digits, percent, plural } from '../format.js';
import { median } from './comb.js';
import { lossesOf } from './loss.js';
import { multifdFlows } from './multifd.js';
import { defineRule, type Observation } from './rule.js';
import type { Transfer } from './transfer.js';

const DEFAULT_MSS = 1448;

export default defineRule({
  id: 'R-D2',
  title: 'Too many parallel channels',
  layer: 'L0',
  needs: ['connections'],
  restsOn: ['loss', 'rates'],
  explains: ['R-B1', 'R-B2', 'R-D3'],
  thresholds: {
    minChannels: { value: 4, unit: 'channels', meaning: 'fewer are never too many' },
    maxFlightSegments: {
      value: 6,
      unit: 'segments',
      meaning: 'in flight on the median channel; with so few a loss often brings no duplicate acknowledgements',
    },
    minTimeouts: { value: 3, unit: 'retransmissions', meaning: 'by timer, over all channels' },
    minRepeatedShare: { value: 0.005, unit: 'share of bytes', meaning: 'sent again' },
    maxEfficiency: { value: 0.5, unit: 'share', meaning: 'rate of a channel over that with fewer channels' },
    maxGain: { value: 0.95, unit: 'factor', meaning: 'rate in all over that with fewer channels' },
    moreLoss: { value: 2, unit: 'factor', meaning: 'by which the repeated share must have risen instead' },
  },
  about: {
    meaning:
      'The channels fight each other. Each gets so small a share of the path that a single loss empties its window and it waits for its timer, or the sum is lower than with fewer of them.',
    evidence:
      'Only a handful of segments in flight per channel, with losses and timeouts; or a migration between the same hosts in the same capture that had fewer channels and went faster.',
    confusedWith:
      'A lossy path (R-B1), which hits a single connection as well; too few cores, where channels idle without any loss (R-C5, R-D1).',
    advice: [
      'Halve multifd-channels (virsh migrate --parallel-connections) and compare; on one path 2 to 4 are enough for most links below 10 Gbit/s.',
    ],
  },
  run: ({ transfers }, limits) =>
    transfers.flatMap((transfer): readonly Observation[] => {
      const channels = multifdFlows(transfer);
      if (channels.length < limits.minChannels) return [];
      const fewer = transfers.find((other) => isWorseThan(transfer, other, limits));
      const losses = lossesOf(transfer);
      const mss = transfer.mainFlow.connection.options.mss.find((size) => size !== null) ?? DEFAULT_MSS;
      const flights = channels.flatMap(({ forward }) => (forward.inFlight ? [forward.inFlight.p50] : []));
      const flight = flights.length > 0 ? median(flights) : null;
      const timeouts = channels.reduce((sum, { forward }) => sum + forward.retransmissions.timeout, 0);
      const starved =
        flight !== null &&
        flight <= limits.maxFlightSegments * mss &&
        timeouts >= limits.minTimeouts &&
        losses.repeatedShare >= limits.minRepeatedShare;
      if (!starved && !fewer) return [];
      return [
        {
          confidence: fewer ? 0.8 : 0.65,
          interval: [transfer.precopy],
          packets: transfer.events('retransmission-timeout').map((event) => event.frame),
          metrics: {
            channels: channels.length,
            flightBytes: flight,
            timeouts,
            repeatedShare: losses.repeatedShare,
            fewerChannels: fewer ? multifdFlows(fewer).length : null,
            efficiency: fewer ? efficiency(transfer, fewer) : null,
          },
          text:
            (fewer
              ? `With ${channels.length} channels the migration reached ${bitRate(transfer.goodput)}, with ${multifdFlows(fewer).length} another between the same hosts ${bitRate(fewer.goodput)}: a channel carries ${percent(efficiency(transfer, fewer))} of what it could. `
              : '') +
            (starved
              ? `Each of ${channels.length} channels has only ${bytes(flight)} in flight (${digits(flight / mss)} segments); ${percent(losses.repeatedShare)} of the bytes had to be repeated, ${plural(timeouts, 'segment')} after a timeout.`
              : ''),
          advice: [
            `Try multifd-channels ${Math.max(2, channels.length >> 1)} on both sides: fewer channels with larger windows survive losses without timeouts.`,
          ],
          alternatives: ['The path may lose as much with a single connection: then R-B1 is the whole cause.'],
          cost: { of: 'migration-time', ns: Math.max(losses.stalledNs, losses.behindNs, lostNs(transfer, fewer)) },
          transfer,
        },
      ];
    }),
});

const hosts = ({ migration }: Transfer): string => `${migration?.source} ${migration?.destination}`;

/** Rate of one channel over that of one channel of `fewer`. */
const efficiency = (many: Transfer, fewer: Transfer): number =>
  (many.goodput ?? 0) / multifdFlows(many).length / ((fewer.goodput ?? 0) / multifdFlows(fewer).length);

/** Time that it would have saved to send as fast as `fewer` did, ns. */
const lostNs = ({ goodput, durationNs }: Transfer, fewer: Transfer | undefined): number =>
  goodput && fewer?.goodput ? Math.max(0, 1 - goodput / fewer.goodput) * durationNs : 0;

function isWorseThan(
  many: Transfer,
  fewer: Transfer,
  limits: { readonly maxEfficiency: number; readonly maxGain: number; readonly moreLoss: number },
): boolean {
  const count = multifdFlows(fewer).length;
  const apart = many.endNs <= fewer.startNs || fewer.endNs <= many.startNs;
  if (many === fewer || hosts(many) !== hosts(fewer) || !apart || count === 0 || count >= multifdFlows(many).length)
    return false;
  if (!fewer.goodput || many.goodput === null || efficiency(many, fewer) > limits.maxEfficiency) return false;
  const repeated = [many, fewer].map((transfer) => lossesOf(transfer).repeatedShare);
  return many.goodput <= limits.maxGain * fewer.goodput || repeated[0]! > limits.moreLoss * repeated[1]!;
}
