// The errors a user can see, one function per message, and the assertion for our own mistakes.
//
// Exit codes: 0 done · 1 input cannot be used (InputError) · 2 wrong call (UsageError) · 3 anomalies under --strict ·
// 70 a defect of ours (AssertionError). Damage inside an input is never an error: see anomaly.ts.

/** Something is wrong with what was asked for: an option, an interface, a combination. Exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  constructor(
    message: string,
    /** What to try instead, a full sentence. */
    readonly hint: string,
  ) {
    super(message);
  }
}

/** An input or output that cannot be used at all. Exit code 1. */
export class InputError extends Error {
  override readonly name = 'InputError';
  constructor(
    message: string,
    /** What was expected and what to try, a full sentence. */
    readonly hint: string,
  ) {
    super(message);
  }
}

/** A broken invariant of this program. Never caught; exit code 70. */
export class AssertionError extends Error {
  override readonly name = 'AssertionError';
}

/** Stops with the facts at hand when an invariant of ours does not hold. */
export function assert(holds: boolean, message: string, facts: Record<string, unknown> = {}): asserts holds {
  if (!holds) throw new AssertionError(`${message} ${JSON.stringify(facts)}`);
}

const hex = (value: number, digits: number): string => `0x${(value >>> 0).toString(16).padStart(digits, '0')}`;

/** An input as a sentence begins with it. */
const named = (path: string): string => (path === '-' ? 'Standard input' : path);

/** Other files by how they start, with what makes a capture of them. */
const FAMILIAR: readonly (readonly [start: string, advice: (path: string) => string])[] = [
  ['fd377a58', (path) => `It is packed with xz: xz -dc ${path} | migscope analyze -`],
  ['425a68', (path) => `It is packed with bzip2: bzip2 -dc ${path} | migscope analyze -`],
  ['04224d18', (path) => `It is packed with lz4: lz4 -dc ${path} | migscope analyze -`],
  ['504b0304', (path) => `It is a zip archive: unzip -p ${path} | migscope analyze -`],
  ['7b', (path) => `It looks like JSON; a saved result is read by migscope report ${path}`],
];

export const notACapture = (path: string, magic: number): InputError => {
  const start = hex(magic, 8);
  const familiar = FAMILIAR.find(([known]) => start.startsWith(`0x${known}`));
  return new InputError(
    `${named(path)} does not start like a capture file (first bytes ${start}).`,
    `Expected pcap or pcapng, plain or inside gzip or zstd.${familiar ? ` ${familiar[1](path)}` : ''}`,
  );
};

export const emptyInput = (path: string): InputError =>
  new InputError(
    `${named(path)} is empty.`,
    'A capture starts with a file header of at least 24 bytes; check that the recording ran and was copied whole.',
  );

export const tooShort = (path: string, bytes: number): InputError =>
  new InputError(
    `${named(path)} is too short for a capture (${bytes} ${bytes === 1 ? 'byte' : 'bytes'}).`,
    'Expected pcap or pcapng, of which the file header alone has 24 bytes; check that it was copied whole.',
  );

export const noSuchFile = (path: string): InputError =>
  new InputError(
    `${path === '' ? 'A file with an empty name' : path} does not exist.`,
    'Check the name; use - for standard input.',
  );

export const cannotRead = (path: string, reason: string): InputError =>
  new InputError(
    `${named(path)} cannot be read: ${reason}.`,
    'Check that it is a regular file and that you may read it.',
  );

export const noFrames = (names: readonly string[]): InputError =>
  new InputError(
    `${names.map(named).join(', ')} ${names.length === 1 ? 'holds' : 'hold'} no frames.`,
    'The file header is valid but nothing follows it: check the capture filter, the interface, and that traffic was flowing.',
  );

export const emptyStretch = (
  { fromNs, toNs, connection }: { fromNs: number; toNs: number; connection: number | null },
  durationNs: number,
): UsageError =>
  new UsageError(
    `No TCP segments ${connection === null ? '' : `of connection ${connection} `}lie between ${fromNs / 1e9} s and ${toNs / 1e9} s.`,
    `The capture is ${(durationNs / 1e9).toFixed(3)} s long; times count from its first frame, as in the report.`,
  );

export const noSuchPort = (port: number, busiest: readonly number[]): UsageError =>
  new UsageError(
    `No connection in the capture goes to port ${port}.`,
    busiest.length > 0 ? `Most data went to ${busiest.join(', ')}.` : 'It holds no TCP connection.',
  );

export const noSuchConnection = (id: number, connections: number): UsageError =>
  new UsageError(
    `There is no connection ${id} in the capture.`,
    connections > 0
      ? `Those in the result are numbered from 0 (${connections} in all); the summary and the page show the numbers.`
      : 'It holds no TCP connection.',
  );

export const outputExists = (path: string): UsageError =>
  new UsageError(`${path} exists already.`, 'Add --force to replace it, or choose another name.');

export const outputIsInput = (path: string): UsageError =>
  new UsageError(`${path} is what is to be read; it is not replaced.`, 'Choose another name for the result.');

export const outputIsFolder = (path: string): UsageError =>
  new UsageError(`${path} is a folder.`, 'Name a file for JSON or the page; a folder is for --csv and --arrow.');

export const outputIsNoFolder = (path: string): UsageError =>
  new UsageError(`${path} is a file.`, 'Name a folder for the tables; it is made when it does not exist.');

export const outputsShareFolder = (path: string): UsageError =>
  new UsageError(
    `CSV and Arrow tables cannot share the folder ${path}: each set has a schema.json.`,
    'Give --csv and --arrow folders of their own.',
  );

export const outputFolderMissing = (path: string): UsageError =>
  new UsageError(
    `${path} cannot be written: its folder does not exist.`,
    'Create the folder first, or choose another.',
  );

export const outputFolderIsFile = (path: string): UsageError =>
  new UsageError(`${path} cannot be written: what should be its folder is a file.`, 'Choose another folder.');

export const outputUnnamed = (path: string): UsageError =>
  new UsageError(
    `${path === '' ? 'An empty name' : path} names no file to write.`,
    'Give a file name; - stands for standard output.',
  );

export const outputTwice = (path: string): UsageError =>
  new UsageError(`${path} is given for two results.`, 'Give each a name of its own.');

export const stdinTwice = (): UsageError =>
  new UsageError('Standard input is given twice, and can be read only once.', 'Save one of the runs to a file first.');

export const outputFailed = (path: string, reason: string): InputError =>
  new InputError(
    `${path} could not be written: ${reason}.`,
    'Check free space and permissions; nothing was left behind.',
  );

export const twoOutputsToStdout = (): UsageError =>
  new UsageError(
    'Only one result can go to standard output.',
    'Give - to one of --json and --html, a file to the other.',
  );

export const notAReport = (path: string, reason: string): InputError =>
  new InputError(
    `${named(path)} is not a saved result: ${reason}.`,
    'Expected a file written by migscope analyze --json; captures go to migscope analyze.',
  );

export const unknownRule = (id: string): UsageError =>
  new UsageError(`There is no rule ${id}.`, 'migscope rules lists them all.');

export const twoRunsNeeded = (count: number): UsageError =>
  new UsageError(`A comparison needs at least two runs, not ${count}.`, 'Name captures or saved JSON results.');

export const unknownShell = (shell: string): UsageError =>
  new UsageError(`There is no completion for ${shell}.`, 'Choose bash or zsh.');

// Live capture.

export const unknownInterface = (name: string, known: readonly string[]): UsageError =>
  new UsageError(
    `There is no interface ${name} to capture on.`,
    `There is ${known.join(', ')}; migscope interfaces says more. Inside a network namespace: ip netns exec NAME migscope live …`,
  );

export const interfaceDown = (name: string): UsageError =>
  new UsageError(`Interface ${name} is down.`, `Bring it up first: sudo ip link set ${name} up`);

export const badFilter = (filter: string, reason: string): UsageError =>
  new UsageError(
    `The capture filter "${filter}" is not valid: ${reason}.`,
    'See man pcap-filter; for one migration: --filter "tcp port 49152", with the right port.',
  );

export const engineMissing = (engine: string, packageName: string): InputError =>
  new InputError(`${engine} is not installed.`, `Install it: sudo apt-get install ${packageName}`);

export const capMissing = (reason: string): InputError =>
  new InputError(
    `The capture library cap is not usable: ${reason}.`,
    'Build it: sudo apt-get install libpcap-dev g++ make python3 && npm install --allow-scripts=cap cap@0.2.1 (beside migscope; -g when migscope is global), or take --engine tcpdump.',
  );

export const captureNotPermitted = (engine: string, file: string): InputError =>
  new InputError(
    `${engine} may not capture: the right to open raw sockets is missing.`,
    `Run migscope as root, or give ${file} the right once: sudo setcap cap_net_raw,cap_net_admin=eip ${file}`,
  );

export const engineNotExecutable = (engine: string, file: string): InputError =>
  new InputError(
    `${engine} may not be run by this user (${file}).`,
    'Debian reserves it for a group: sudo usermod -aG wireshark "$USER", then log in again.',
  );

export const engineFailed = (engine: string, reason: string): InputError =>
  new InputError(`${engine} could not start capturing: ${reason}.`, 'Try another one with --engine.');

export const noEngine = (failures: readonly InputError[]): InputError =>
  new InputError(
    `No capture engine can be used. ${failures.map((failure) => failure.message).join(' ')}`,
    failures[0]?.hint ?? 'Install tcpdump.',
  );

export const interfaceGone = (name: string): InputError =>
  new InputError(
    `Interface ${name} is gone; the capture ended there.`,
    'All that was captured before counts: the report covers it.',
  );

export const interfaceWentDown = (name: string, engine: string): InputError =>
  new InputError(
    `Interface ${name} went down, and ${engine} cannot wait for it; the capture ended there.`,
    `All that was captured before counts: the report covers it. Bring it up again: sudo ip link set ${name} up`,
  );

export const engineDied = (engine: string, how: string): InputError =>
  new InputError(
    `${engine} ended without being asked (${how}).`,
    'All that was captured before counts: the report covers it. Start again, perhaps with another --engine.',
  );

export const recordingFailed = (path: string, reason: string, frames: number): InputError =>
  new InputError(
    `${path} could not be written any further: ${reason}. It holds the first ${frames} frames.`,
    'The capture and its analysis went on. Free some space, or record less with --snaplen or --filter.',
  );

export const recordingName = (path: string): UsageError =>
  new UsageError(`${path} is not a name for a recording.`, 'It must end in .pcap, or in .pcap.gz to be packed.');

export const nothingCaptured = (name: string): InputError =>
  new InputError(
    `Not a single frame was captured on ${name}.`,
    'Check the interface (migscope interfaces), the filter, and that traffic was flowing.',
  );

export const noZstd = (): InputError =>
  new InputError(
    'This input is zstd-compressed, and there is nothing here to unpack it with.',
    'Install the zstd program, use Node 22.15 or later, or unpack the input first.',
  );

export const tooManyInputs = (count: number, limit: number): InputError =>
  new InputError(
    `${count} inputs run at the same time; at most ${limit} can be merged.`,
    'Merge some of them into one file first, for example with mergecap.',
  );

export const pipeAmongFiles = (path: string): UsageError =>
  new UsageError(
    `${path} is a pipe and cannot be read together with other inputs.`,
    'To order several inputs by time each is opened twice; save the pipe to a file first.',
  );

export const bothEndsOrFiles = (): UsageError =>
  new UsageError(
    'Expected capture files, or --source together with --destination.',
    'migscope analyze FILE…, or migscope analyze --source SRC.pcap --destination DST.pcap.',
  );
