// Anomalies: facts about damage or oddity, each with where it was first and last seen, and how often.
//
// Stages call `log.note(code, location)`; they never print. A code says who is to blame (origin) and how much it
// matters (severity); the sentence is for the reader of the report.
import { ANOMALY_KEYS, ANOMALY_SAMPLES } from './limits.js';

export type Severity = 'error' | 'warning' | 'note';
/** Who caused it: the network, the act of capturing, the input file, the sender's stream, or a limit of ours. */
export type Origin = 'network' | 'capture' | 'file' | 'stream' | 'limit';

interface AnomalyKind {
  readonly severity: Severity;
  readonly origin: Origin;
  readonly text: string;
}

const kind = (severity: Severity, origin: Origin, text: string): AnomalyKind => ({ severity, origin, text });

/** Every anomaly there is. Codes are nouns for the failing state, `area/what`. */
export const ANOMALIES = {
  'capture/record-truncated': kind('warning', 'file', 'The file ends in the middle of a record; all before it counts.'),
  'capture/bad-length': kind(
    'error',
    'file',
    'A record announces an impossible length; reading went on at the next plausible record.',
  ),
  'capture/unknown-block': kind('note', 'file', 'A pcapng block of unknown type was skipped.'),
  'capture/bad-block': kind('error', 'file', 'A pcapng block contradicts itself; it was skipped.'),
  'capture/unknown-interface': kind('warning', 'file', 'A frame names an interface that the file did not describe.'),
  'capture/compressed-damaged': kind(
    'error',
    'file',
    'The compressed input ends early or is damaged; all that could be unpacked counts.',
  ),
  'capture/time-backwards': kind('note', 'capture', 'Time stamps step back; intervals use the latest time seen.'),
  'capture/time-forwards': kind(
    'warning',
    'capture',
    'Time stamps leap ahead while the clocks of both ends stand still; times and rates across the leap are wrong.',
  ),
  'capture/dropped': kind('warning', 'capture', 'The capture lost frames by its own count.'),
  'capture/narrowed': kind(
    'note',
    'capture',
    'From here on the capture was narrowed to the migration, as asked: what else was on the link is left out.',
  ),
  'capture/frames-cut': kind(
    'note',
    'capture',
    'Frames are cut by the snap length; cut bytes count but cannot be read.',
  ),
  'decode/unknown-link-type': kind('warning', 'file', 'Frames of a link type that is not decoded.'),
  'decode/malformed': kind('note', 'network', 'Frames whose headers contradict their length.'),
  'decode/fragment': kind(
    'note',
    'network',
    'IP fragments: later fragments carry no transport header and are counted only.',
  ),
  'decode/tunnel-depth': kind('warning', 'limit', 'Encapsulation nested deeper than is peeled.'),
  'decode/stt-segment': kind(
    'warning',
    'limit',
    'Later segments of packets that STT split: they are counted and not joined, so the streams inside have holes.',
  ),
  'decode/tunnel-paths': kind('warning', 'limit', 'More distinct tunnels than are told apart.'),
  'tcp/connections-full': kind(
    'warning',
    'limit',
    'More live connections than are kept; the longest idle one was closed.',
  ),
  'tcp/acked-unseen': kind(
    'warning',
    'capture',
    'Bytes were acknowledged that the capture does not hold: the capture lost frames.',
  ),
  'tcp/out-of-window': kind('note', 'network', 'Segments outside any plausible window were left aside.'),
  'tcp/sequence-ambiguous': kind(
    'warning',
    'capture',
    'More than 1 GiB in a row is missing; how often the sequence numbers wrapped meanwhile is uncertain.',
  ),
  'tcp/approximate': kind(
    'warning',
    'limit',
    'State for a direction was merged to stay in bounds; its figures are approximate.',
  ),
  'tcp/coarse-quantiles': kind(
    'note',
    'limit',
    'Quantiles (of round trips, windows, bytes in flight, bursts) are rough where connections are many and have few frames.',
  ),
  'tcp/captured-twice': kind('note', 'capture', 'Frames were captured more than once; the copies do not count.'),
  'tcp/one-sided': kind('warning', 'capture', 'Only one direction of a connection is in the capture.'),
  'stream/hole': kind('warning', 'capture', 'Bytes of a migration stream are missing from the capture.'),
  'stream/hole-given-up': kind(
    'warning',
    'limit',
    'A hole in a migration stream was given up because too much waited behind it.',
  ),
  'stream/desync': kind('error', 'stream', 'The decoder lost its place in a migration stream.'),
  'stream/resync': kind('note', 'stream', 'The decoder found its place again; bytes in between were not decoded.'),
  'stream/pages-lost': kind(
    'warning',
    'capture',
    'Pages lie in bytes that could not be decoded; they are not among the counted ones.',
  ),
  'stream/bad-header': kind('error', 'stream', 'A stream starts like a migration, but its header makes no sense.'),
  'stream/bad-record': kind('error', 'stream', 'A record of the migration stream is not valid.'),
  'stream/unknown-section': kind('warning', 'stream', 'A section of unknown type or id.'),
  'stream/footer-mismatch': kind('error', 'stream', 'A section footer does not match its section.'),
  'stream/invariant': kind(
    'warning',
    'stream',
    'The decoded stream contradicts itself; figures that depend on it are doubtful.',
  ),
  'stream/limit': kind('warning', 'limit', 'The stream announces more than is kept; the rest is counted only.'),
  'stream/checkpoints': kind(
    'note',
    'stream',
    'COLO: behind the first transfer come checkpoints of a guest that runs at both ends; they are counted, not decoded.',
  ),
  'stream/channel-missing': kind(
    'warning',
    'capture',
    'Channels of a migration are not in the capture, as when it shows one of several network cards; what they carried is not counted.',
  ),
  'stream/mid-stream': kind('warning', 'capture', 'The capture starts in the middle of a migration.'),
  'udp/flows-full': kind(
    'warning',
    'limit',
    'More flows without TCP than are kept; those idle longest were forgotten.',
  ),
  'udp/captured-twice': kind(
    'note',
    'capture',
    'Datagrams were captured both inside and outside a tunnel; the copies do not count.',
  ),
  'udp/malformed': kind('note', 'network', 'Datagrams that contradict the transport they were recognised as.'),
} as const satisfies Record<string, AnomalyKind>;

export type AnomalyCode = keyof typeof ANOMALIES;

/** Where something was seen; every part that is known. Times in ns since the first frame, offsets in bytes. */
export interface Location {
  readonly frame?: number;
  readonly tNs?: number;
  readonly direction?: number;
  readonly streamOffset?: number;
  readonly fileOffset?: number;
  /** Index of the input file. */
  readonly input?: number;
  /** A short fact in words, e.g. the section's name; untrusted text. */
  readonly detail?: string;
}

export interface Anomaly {
  readonly code: AnomalyCode;
  readonly severity: Severity;
  readonly origin: Origin;
  readonly text: string;
  readonly direction: number | null;
  readonly count: number;
  readonly first: Location;
  readonly last: Location;
  readonly samples: readonly Location[];
}

interface Entry {
  readonly code: AnomalyCode;
  readonly direction: number | null;
  count: number;
  readonly first: Location;
  last: Location;
  readonly samples: Location[];
}

/** Collects anomalies in bounded memory: per code and direction the first few, the last, and a count. */
export class AnomalyLog {
  readonly #entries = new Map<string, Entry>();

  note(code: AnomalyCode, location: Location, count = 1): void {
    let direction = location.direction ?? null;
    let key = `${code} ${direction}`;
    let entry = this.#entries.get(key);
    if (!entry && this.#entries.size >= ANOMALY_KEYS) {
      direction = null;
      key = `${code} null`;
      entry = this.#entries.get(key);
    }
    if (!entry) {
      entry = { code, direction, count: 0, first: location, last: location, samples: [] };
      this.#entries.set(key, entry);
    }
    entry.count += count;
    entry.last = location;
    if (entry.samples.length < ANOMALY_SAMPLES) entry.samples.push(location);
  }

  /** Takes what another log has noted, as that log's finish() gives it. */
  take(anomalies: readonly Anomaly[]): void {
    for (const { code, direction, count, first, last, samples } of anomalies) {
      const key = `${code} ${direction}`;
      const entry = this.#entries.get(key);
      if (!entry) this.#entries.set(key, { code, direction, count, first, last, samples: [...samples] });
      else {
        entry.count += count;
        entry.last = last;
        entry.samples.push(...samples.slice(0, ANOMALY_SAMPLES - entry.samples.length));
      }
    }
  }

  /** How often `code` was noted, all directions together. */
  count(code: AnomalyCode): number {
    let total = 0;
    for (const entry of this.#entries.values()) if (entry.code === code) total += entry.count;
    return total;
  }

  /** How many anomalies were noted, all codes together. */
  get total(): number {
    let total = 0;
    for (const entry of this.#entries.values()) total += entry.count;
    return total;
  }

  /** In the order of the registry, then by direction. */
  finish(): Anomaly[] {
    const order = Object.keys(ANOMALIES);
    return [...this.#entries.values()]
      .sort((a, b) => order.indexOf(a.code) - order.indexOf(b.code) || (a.direction ?? -1) - (b.direction ?? -1))
      .map((entry) => ({ ...entry, ...ANOMALIES[entry.code] }));
  }
}
