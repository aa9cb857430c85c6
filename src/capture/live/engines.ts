// The programs that can capture for us: how each is called, and what it says on standard error.
//
// All of them run as children and write a pcap or pcapng stream to standard output, so that a crash, a stall or a
// privilege of theirs is not ours. They differ in precision, which `accuracy` puts into words.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CAPTURE_RING_BYTES } from '../../limits.js';

/** In the order `auto` tries them: the most precise first. */
export const ENGINE_NAMES = ['tcpdump', 'dumpcap', 'cap'] as const;
export type EngineName = (typeof ENGINE_NAMES)[number];

/** What to capture. */
export interface CaptureRequest {
  readonly interface: string;
  /** In the language of pcap-filter(7); null takes everything. */
  readonly filter: string | null;
  /** Bytes kept of each frame; null keeps all. */
  readonly snapLength: number | null;
}

export interface Engine {
  readonly name: EngineName;
  /** Debian package that holds it. */
  readonly packageName: string;
  /** What taking this engine means for the result, one clause. */
  readonly accuracy: string;
  /** Who stamps the frames. */
  readonly clock: 'kernel' | 'arrival';
  /** Absolute path of the program, null when it is not installed. */
  locate(): string | null;
  arguments(request: CaptureRequest): string[];
  /** The line on standard error that says that the capture runs. */
  readonly ready: RegExp;
  /** A line with the number of frames lost so far in group 1. */
  readonly lost: RegExp;
  /** Signal that makes it print that line while it runs; null when it only does so at the end, or by itself. */
  readonly countSignal: NodeJS.Signals | null;
  /** How long a frame may wait in the kernel's ring before the engine gets it, ms. */
  readonly latencyMs: number;
  /** How it is told to end: a signal, or the end of its standard input. */
  readonly stopBy: 'SIGTERM' | 'end-of-input';
}

const KIB = 1 << 10;
const MIB = 1 << 20;

const tcpdump: Engine = {
  name: 'tcpdump',
  packageName: 'tcpdump',
  accuracy: 'kernel time stamps, whole lengths, losses counted as they happen',
  clock: 'kernel',
  locate: () => findProgram('tcpdump'),
  // -U hands every frame on at once: without it the last 4 KiB before a pause, often the end of the migration, wait in
  // tcpdump. It costs one write a frame, and no frame was lost to that at 250 000 frames a second.
  arguments: ({ interface: device, filter, snapLength }) => [
    ...['-i', device, '-w', '-', '-U', '-n', '-B', String(CAPTURE_RING_BYTES / KIB)],
    ...(process.platform === 'linux' ? ['--time-stamp-precision=nano'] : []),
    ...(snapLength === null ? [] : ['-s', String(snapLength)]),
    ...(filter === null ? [] : ['--', filter]),
  ],
  ready: /listening on /,
  lost: /(\d+) packets? dropped by kernel/, // not "by interface": those never reached the host
  countSignal: process.platform === 'win32' ? null : 'SIGUSR1',
  latencyMs: 1000, // tcpdump.c: pcap_set_timeout(p, 1000)
  stopBy: 'SIGTERM',
};

const dumpcap: Engine = {
  name: 'dumpcap',
  packageName: 'wireshark-common',
  accuracy: 'kernel time stamps, whole lengths, losses counted at the end',
  clock: 'kernel',
  locate: () => findProgram('dumpcap'),
  arguments: ({ interface: device, filter, snapLength }) => [
    ...['-q', '-i', device, '-w', '-', '-B', String(CAPTURE_RING_BYTES / MIB)],
    ...(snapLength === null ? [] : ['-s', String(snapLength)]),
    ...(filter === null ? [] : ['-f', filter]),
  ],
  ready: /^File: /m,
  lost: /Packets received\/dropped on interface .*: \d+\/(\d+)/,
  countSignal: null,
  latencyMs: 250, // dumpcap.c: CAP_READ_TIMEOUT
  stopBy: 'SIGTERM',
};

const cap: Engine = {
  name: 'cap',
  packageName: 'libpcap-dev',
  accuracy: 'time stamps are arrival times in user space, losses in the kernel are not counted',
  clock: 'arrival',
  locate: () => process.execPath,
  arguments: ({ interface: device, filter, snapLength }) => [
    fileURLToPath(new URL('cap-child.js', import.meta.url)),
    device,
    filter ?? '',
    String(snapLength ?? ''),
  ],
  ready: /listening on /,
  lost: /(\d+) frames dropped by the queue/,
  countSignal: null,
  latencyMs: 0,
  stopBy: 'end-of-input',
};

export const ENGINES: readonly Engine[] = [tcpdump, dumpcap, cap];

/** Finds a program as the shell does, and also where capture programs live outside an ordinary user's path. */
export function findProgram(name: string): string | null {
  const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/local/sbin', '/usr/sbin', '/sbin'];
  for (const folder of folders) {
    if (folder === '') continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.F_OK); // found but not executable is worth a message of its own
      return path;
    } catch {}
  }
  return null;
}
