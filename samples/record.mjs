#!/usr/bin/env node
// Records one real QEMU live migration: NAME.pcap.gz, and NAME.truth.json with what QEMU and the kernel said about the same run.
//
// Two network namespaces play the two hosts. They are joined by a veth pair (the kernel's own token bucket sets the rate, frames
// keep their offloaded size), or, when a delay or loss is asked for, by the relay in record/link.c (frames of at most 1514 bytes).
// The guest is record/guest.asm under TCG. Everything is removed afterwards.
//
// Needs root on Linux, Node 20, and Debian's qemu-system-x86, tcpdump, iproute2 and nasm; gcc for the relay.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';

const here = dirname(fileURLToPath(import.meta.url));
const HELP = `usage: record.mjs NAME [options]

  --out DIR               where NAME.pcap.gz and NAME.truth.json go (default: beside this script)
  --qemu COMMAND          default qemu-system-x86_64; may carry a prefix such as "chroot DIR qemu-system-x86_64"
  --machine TYPE          default pc
  --bare                  the guest is its own firmware: without SeaBIOS, whose 250 KiB hardly pack
  --device ARGUMENT       a further device of both QEMUs; may be repeated
  --disk MIB              a virtio disk, two thirds of it filled at the source, none at the destination
  --frozen                the destination does not resume (-S)
  --mem MIB               guest memory (default 64)
  --filled MIB            how much of it is not zero (default 24)
  --dirty-range MIB-MIB   what the guest keeps writing to (default 8-12)
  --dirty-rate PAGES      pages written a second, in steps of 100 (default 2000)
  --capability NAME       on both hosts; may be repeated
  --parameter NAME=VALUE  migration parameter of the source, multifd and TLS credentials of both; may be repeated
  --destination-parameter NAME=VALUE  of the destination, instead of the source's; may be repeated
  --later S:NAME=VALUE    change a parameter of the source S seconds after the start; may be repeated
  --postcopy-after S      switch to post-copy S seconds after the start
  --cancel-after S        cancel S seconds after the start
  --retry                 a second after the first try has ended, migrate to a fresh destination, without cancelling
  --second S              migrate another guest of the same kind, to the next port, S seconds after the start
  --timeout S             give up and cancel (default 120)
  --rate MBIT             link rate (default 400)
  --rate-later S:MBIT     change it S seconds after the start (without delay and loss only); may be repeated
  --delay MS              one way (default 0)
  --loss PERCENT          of frames, at random, each way (default 0)
  --queue KIB             queue before the link when it has a delay or loss (default 256)
  --seed N                of the random loss (default 1)
  --cc NAME               congestion control of both hosts (default cubic)
  --rmem BYTES            largest receive buffer of the destination
  --wmem BYTES            largest send buffer of the source
  --side src|dst|both     where to capture; the destination's goes to NAME.dst.pcap.gz (default src)
  --snaplen BYTES         default 0, whole frames
`;

const SETTINGS = {
  out: here,
  qemu: 'qemu-system-x86_64',
  machine: 'pc',
  bare: false,
  device: [],
  disk: undefined,
  frozen: false,
  mem: '64',
  filled: '24',
  'dirty-range': '8-12',
  'dirty-rate': '2000',
  capability: [],
  parameter: [],
  'destination-parameter': [],
  later: [],
  'postcopy-after': undefined,
  'cancel-after': undefined,
  retry: false,
  second: undefined,
  timeout: '120',
  rate: '400',
  'rate-later': [],
  delay: '0',
  loss: '0',
  queue: '256',
  seed: '1',
  cc: 'cubic',
  rmem: undefined,
  wmem: undefined,
  side: 'src',
  snaplen: '0',
};
const HOSTS = {
  src: { namespace: `record-src-${process.pid}`, device: `rs${process.pid}`, address: '10.20.30.1' },
  dst: { namespace: `record-dst-${process.pid}`, device: `rd${process.pid}`, address: '10.20.30.2' },
};
const NETWORK = '10.20.30.0/24';
const PORT = 49152; // libvirt's first migration port
const MIB = 1 << 20;
const GUEST_TICK_HZ = 100; // as in guest.asm, like the next two
const GUEST_READY_ADDRESS = 0x7e00;
const GUEST_READY_MARK = '0x600d600d';
const QUERY_INTERVAL_MS = 250;
const ENDED = new Set(['completed', 'failed', 'cancelled']);

const epochSeconds = () => Date.now() / 1000;
const words = (line) => line.trim().split(/\s+/);

/** Runs a command to its end, with `input` on its standard input; returns what it printed. Throws with its error text when it fails. */
function run(line, input = '') {
  const [command, ...args] = words(line);
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', input });
  if (error || status !== 0) throw new Error(`${line}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/** The same inside a host's network namespace. */
const inside = (host, line) => `ip netns exec ${host.namespace} ${line}`;

/** A process that runs until it is told to stop. What it prints is kept in `output`, unless `stdio` sends it elsewhere. */
class Service {
  static #started = [];
  output = '';

  constructor(line, stdio = ['ignore', 'pipe', 'pipe']) {
    const [command, ...args] = words(line);
    this.process = spawn(command, args, { stdio });
    this.ended = new Promise((resolve) => this.process.once('close', resolve).once('error', resolve));
    Service.#started.push(this);
  }

  /** Keeps the output; with `sign`, waits until that text was printed. */
  async listen(sign = '') {
    const { stdout, stderr } = this.process;
    const seen = new Promise((resolve) => {
      for (const stream of [stdout, stderr]) {
        stream.on('data', (data) => {
          this.output += data;
          if (this.output.includes(sign)) resolve(true);
        });
      }
    });
    if (sign && !(await Promise.race([seen, this.ended.then(() => false)]))) {
      throw new Error(`${this.process.spawnargs.join(' ')} ended early: ${this.output}`);
    }
    return this;
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    await this.ended;
  }

  /** Stops all services of a kind, the last one first. */
  static async stopAll(Kind = Service) {
    for (const service of Service.#started.toReversed()) if (service instanceof Kind) await service.stop();
  }
}

/** A QEMU with its monitor (QMP) on standard input and output: it needs nothing in the file system, so a chroot is no obstacle. */
class Qemu extends Service {
  events = [];
  #waiting = [];
  #listeners = new Map();

  /** `drives`: each an image opened for reading and for writing, from which QEMU picks by access mode, and how it is attached. */
  constructor(host, options, drives, log, extra = '') {
    const command = `${options.qemu} -accel tcg -machine ${options.machine} -m ${options.mem} -nodefaults -display none -qmp stdio`;
    const attached = drives.map(({ attachment }, i) => {
      const [fd, set] = [3 + 2 * i, i + 1];
      return `-add-fd fd=${fd},set=${set} -add-fd fd=${fd + 1},set=${set}
        -drive file=/dev/fdset/${set},format=raw,file.locking=off,${attachment}`;
    });
    const devices = options.device.map((argument) => `-device ${argument}`);
    const files = drives.flatMap(({ descriptors }) => descriptors);
    super(inside(host, [command, ...attached, ...devices, extra].join(' ')), ['pipe', 'pipe', log, ...files]);
    this.process.stdin.on('error', () => {}); // a QEMU that died is reported through `ended`
    createInterface({ input: this.process.stdout }).on('line', (line) => {
      if (line.startsWith('{')) this.#receive(JSON.parse(line)); // block migration prints its progress in between
    });
  }

  #rejectWaiting() {
    for (const { reject } of this.#waiting.splice(0)) reject(new Error('QEMU ended'));
  }

  #receive(message) {
    if (message.event) {
      const { seconds, microseconds } = message.timestamp;
      this.events.push({ t: seconds + microseconds / 1e6, event: message.event, ...message.data });
      this.#listeners.get(message.event)?.(message.data);
    } else if (!message.QMP) {
      const { resolve, reject } = this.#waiting.shift();
      if (message.error) reject(new Error(message.error.desc));
      else resolve(message.return);
    }
  }

  on(event, listener) {
    this.#listeners.set(event, listener);
  }

  execute(command, parameters) {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.ended.then(() => this.#rejectWaiting());
      this.process.stdin.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    });
  }
}

function readOptions() {
  const definitions = Object.entries(SETTINGS).map(([name, value]) => [
    name,
    {
      type: typeof value === 'boolean' ? 'boolean' : 'string',
      multiple: Array.isArray(value),
      ...(value === undefined ? {} : { default: value }),
    },
  ]);
  const options = { ...Object.fromEntries(definitions), help: { type: 'boolean' } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help || positionals.length !== 1) {
    process.stdout.write(HELP);
    process.exit(values.help ? 0 : 2);
  }
  return { name: positionals[0], ...values };
}

const drive = (image, attachment) => ({ descriptors: [openSync(image, 'r'), openSync(image, 'r+')], attachment });

/** The drives of the source and of the destination: the guest's image, and a disk when one is asked for. */
function buildDrives(options, directory) {
  const [dirtyStart, dirtyEnd] = options['dirty-range'].split('-').map((mib) => Number(mib) * MIB);
  const pagesPerTick = Math.round(Number(options['dirty-rate']) / GUEST_TICK_HZ);
  const image = join(directory, 'guest.img');
  run(`nasm -f bin -DFILL_END=${options.filled * MIB} -DDIRTY_START=${dirtyStart} -DDIRTY_END=${dirtyEnd}
    -DPAGES_PER_TICK=${pagesPerTick} ${options.bare ? '-DFIRMWARE' : ''} -o ${image} ${join(here, 'record/guest.asm')}`);
  const guest = drive(image, options.bare ? 'if=pflash,readonly=on' : 'if=ide');
  const drives = { src: [guest], dst: [guest] };
  if (options.disk) {
    for (const side of ['src', 'dst']) {
      const disk = join(directory, `${side}.img`);
      const chunk = (_, i) => Buffer.alloc(MIB, side === 'src' && i % 3 ? i : 0);
      writeFileSync(disk, Buffer.concat(Array.from({ length: Number(options.disk) }, chunk)));
      drives[side].push(drive(disk, 'if=virtio'));
    }
  }
  return drives;
}

/** A token bucket that stands for a link of so many Mbit/s. */
const bucket = (rate) => `rate ${rate}mbit burst 256k latency 50ms`;

/** Makes both hosts and the link between them. Returns the relay, or null when the link is a veth pair. */
async function buildNetwork(options, directory) {
  const { src, dst } = HOSTS;
  const relayed = Number(options.delay) > 0 || Number(options.loss) > 0;
  let relay = null;
  for (const host of [src, dst]) run(`ip netns add ${host.namespace}`);
  if (relayed) {
    const program = join(directory, 'link');
    const figures = [options.rate * 1e6, options.delay * 1e3, options.queue * 1024, options.loss * 1e4, options.seed];
    run(`gcc -O2 -o ${program} ${join(here, 'record/link.c')}`);
    relay = await new Service(`${program} ${src.device} ${dst.device} ${figures.map(Math.round).join(' ')}`).listen(
      'ready',
    );
  } else {
    run(`ip link add ${src.device} type veth peer name ${dst.device}`);
  }
  for (const host of [src, dst]) {
    run(`ip link set ${host.device} netns ${host.namespace} name eth0`);
    run(inside(host, `ip addr add ${host.address}/24 dev eth0`));
    run(inside(host, 'ip link set eth0 up'));
    // By route: a namespace's own default may only name an algorithm that unprivileged users may choose.
    run(inside(host, `ip route replace ${NETWORK} dev eth0 congctl ${options.cc}`));
  }
  if (!relayed) run(inside(src, `tc qdisc add dev eth0 root tbf rate ${options.rate}mbit burst 256k latency 50ms`));
  for (const [host, buffer] of [
    [dst, 'rmem'],
    [src, 'wmem'],
  ]) {
    const size = options[buffer];
    if (size) run(inside(host, `tee /proc/sys/net/ipv4/tcp_${buffer}`), `4096 ${size} ${size}\n`);
  }
  return relay;
}

/** Starts a tcpdump on each side asked for; `stop()` packs what they wrote and returns figures a side. */
async function startCaptures(options, directory) {
  const sides = options.side === 'both' ? ['src', 'dst'] : [options.side];
  const running = [];
  for (const side of sides) {
    const path = join(directory, `${side}.pcap`);
    const command = `tcpdump -n -i eth0 -s ${options.snaplen} -B 65536 -Z root -w ${path}`;
    running.push({ side, path, tcpdump: await new Service(inside(HOSTS[side], command)).listen('listening on') });
  }
  return {
    async stop() {
      const figures = {};
      for (const { side, path, tcpdump } of running) {
        await tcpdump.stop('SIGINT');
        const count = (what) => Number(new RegExp(`(\\d+) packets? ${what}`).exec(tcpdump.output)?.[1]);
        const bytes = readFileSync(path);
        const packed = gzipSync(bytes, { level: 9 });
        const file = `${options.name}${side === 'src' ? '' : '.dst'}.pcap.gz`;
        writeFileSync(join(options.out, file), packed);
        figures[side] = {
          file,
          frames: count('captured'),
          droppedByKernel: count('dropped by kernel'),
          bytes: bytes.length,
          packedBytes: packed.length,
          packedSha256: createHash('sha256').update(packed).digest('hex'),
        };
      }
      return figures;
    },
  };
}

const parameterValue = (text) => (/^(true|false|\d+)$/.test(text) ? JSON.parse(text) : text);

async function configure(qemu, options, parameters) {
  const capabilities = ['events', ...options.capability].map((capability) => ({ capability, state: true }));
  await qemu.execute('qmp_capabilities');
  await qemu.execute('migrate-set-capabilities', { capabilities });
  const values = parameters.map(([name, text]) => [name, parameterValue(text)]);
  await qemu.execute('migrate-set-parameters', Object.fromEntries(values));
}

const pairsOf = (list) => list.map((pair) => pair.split('='));

async function startSource({ options, drives, log }) {
  const src = new Qemu(HOSTS.src, options, drives.src, log);
  await configure(src, options, pairsOf(options.parameter));
  return src;
}

/** A destination that waits for a migration at `port`. */
async function startDestination({ options, drives, log }, port) {
  const dst = new Qemu(HOSTS.dst, options, drives.dst, log, `-incoming defer ${options.frozen ? '-S' : ''}`);
  const shared = pairsOf(options.parameter).filter(([name]) => name.startsWith('multifd') || name === 'tls-creds');
  await configure(dst, options, [...shared, ...pairsOf(options['destination-parameter'])]);
  await dst.execute('migrate-incoming', { uri: `tcp:${HOSTS.dst.address}:${port}` });
  return dst;
}

async function guestReady(qemu) {
  const command = { 'command-line': `xp /1wx ${GUEST_READY_ADDRESS}` };
  while (!(await qemu.execute('human-monitor-command', command)).includes(GUEST_READY_MARK)) await sleep(50);
}

/** Carries out a migration to `port`. Returns query-migrate as it was on the way, an answer each QUERY_INTERVAL_MS. */
async function migrate(src, port, options) {
  const samples = [];
  const timers = [];
  const at = (seconds, action) => timers.push(setTimeout(action, Number(seconds) * 1000).unref());
  const after = (seconds, command, parameters) => {
    if (seconds !== undefined) at(seconds, () => src.execute(command, parameters).catch(() => {})); // too late is no error
  };
  const ended = new Promise((resolve) => {
    src.on('MIGRATION', ({ status }) => ENDED.has(status) && resolve(true));
  });
  await src.execute('migrate', { uri: `tcp:${HOSTS.dst.address}:${port}` });
  after(options['postcopy-after'], 'migrate-start-postcopy');
  after(options['cancel-after'], 'migrate_cancel');
  after(options.timeout, 'migrate_cancel');
  for (const change of options.later) {
    const [, seconds, name, value] = /^([\d.]+):([^=]+)=(.*)$/.exec(change);
    after(seconds, 'migrate-set-parameters', { [name]: parameterValue(value) });
  }
  for (const change of options['rate-later']) {
    const [seconds, rate] = change.split(':');
    at(seconds, () => run(inside(HOSTS.src, `tc qdisc change dev eth0 root tbf ${bucket(rate)}`)));
  }
  while (!(await Promise.race([ended, sleep(QUERY_INTERVAL_MS, false)]))) {
    samples.push({ t: epochSeconds(), ...(await src.execute('query-migrate')) });
  }
  timers.forEach(clearTimeout);
  return samples;
}

/** Migrates, and returns QEMU's account of it: what both sides said until a second after its end. */
async function account({ src, dst, port }, options) {
  const startedAt = epochSeconds();
  const samples = await migrate(src, port, options);
  const endedAt = epochSeconds();
  await sleep(1000); // the last acknowledgements, the destination's resume, its announcements
  const final = await src.execute('query-migrate');
  const { status: destinationStatus } = await dst.execute('query-status').catch(({ message }) => ({ status: message }));
  const events = { source: src.events.splice(0), destination: dst.events.splice(0) };
  return { startedAt, endedAt, final, destinationStatus, samples: thinned(samples, 10), events };
}

/** Carries out what the options ask for; returns the account of the first migration, with that of the second in `second`. */
async function migrations(setup, src) {
  const { options } = setup;
  const guest = async (source, port) => ({ src: source, dst: await startDestination(setup, port), port });
  const first = await guest(src, PORT);
  await guestReady(src);
  if (options.second) {
    const other = await guest(await startSource(setup), PORT + 1);
    await guestReady(other.src);
    const later = sleep(Number(options.second) * 1000).then(() => account(other, options));
    const [one, second] = await Promise.all([account(first, options), later]);
    return { ...one, second };
  }
  const one = await account(first, options);
  if (!options.retry) return one;
  await first.dst.stop(); // it cannot take another migration
  return { ...one, second: await account(await guest(src, PORT), { ...options, 'cancel-after': undefined }) };
}

/** The source's migration connections from `ss` lines: both addresses and every `name:value` of tcp_info as ss names it. */
function connectionCounters(text) {
  const lines = text.split('\n').filter((line) => line.includes(`${HOSTS.dst.address}:`));
  return lines.map((line) => {
    const [, , , local, peer, ...fields] = words(line);
    const pairs = fields.map((field) => /^(\w+):(.+)$/.exec(field)).filter(Boolean);
    const values = pairs.map(([, name, value]) => [name, /^[\d.]+$/.test(value) ? Number(value) : value]);
    return { local, peer, ...Object.fromEntries(values) };
  });
}

/** A host's TCP counters that are not zero. Its namespace lives for one run, so they are the run's own. */
function hostCounters(host) {
  const lines = run(inside(host, 'nstat -as')).split('\n');
  const counters = lines.filter((line) => line.startsWith('Tcp')).map(words);
  return Object.fromEntries(counters.map(([name, value]) => [name, Number(value)]));
}

const thinned = (items, count) => items.filter((_, i) => i % Math.ceil(items.length / count) === 0);

async function record(options, directory, log) {
  const { qemu: _command, out: _directory, ...settings } = options; // machine paths, of no interest elsewhere
  const drives = buildDrives(options, directory);
  const relay = await buildNetwork(options, directory);
  const captures = await startCaptures(options, directory);
  // -E reports a socket as the kernel destroys it: its last counters. Line by line, or the last ones stay in ss's buffer.
  const sockets = new Service(inside(HOSTS.src, 'stdbuf -oL ss -E -tinOH'));
  sockets.listen();
  const setup = { options, drives, log };
  const src = await startSource(setup);
  const { major, minor, micro } = (await src.execute('query-version')).qemu;
  const tcpdump = /\d[\d.]+/.exec(run('tcpdump --version'))[0];
  const said = await migrations(setup, src);
  await Service.stopAll(Qemu);
  await sockets.stop();
  const kernel = {
    connections: connectionCounters(sockets.output),
    source: hostCounters(HOSTS.src),
    destination: hostCounters(HOSTS.dst),
  };
  await relay?.stop();
  return {
    versions: { qemu: `${major}.${minor}.${micro}`, kernel: release(), tcpdump },
    options: settings,
    ...said,
    kernel,
    link: relay ? JSON.parse(relay.output.split('\n')[1]) : run(inside(HOSTS.src, 'tc -s qdisc show dev eth0')).trim(),
    captures: await captures.stop(),
  };
}

const options = readOptions();
const directory = mkdtempSync(join(tmpdir(), 'record-'));
const log = openSync(join(directory, 'qemu.log'), 'w+');
const interrupted = new Promise((_, reject) => {
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => reject(new Error(`stopped by ${signal}`)));
});
try {
  const truth = await Promise.race([record(options, directory, log), interrupted]);
  writeFileSync(join(options.out, `${options.name}.truth.json`), `${JSON.stringify(truth, null, 1)}\n`);
  const retransmitted = truth.kernel.source.TcpRetransSegs ?? 0;
  console.log(JSON.stringify({ final: truth.final, captures: truth.captures, retransmitted }, null, 1));
} catch (error) {
  console.error(error.message, readFileSync(join(directory, 'qemu.log'), 'utf8'));
  process.exitCode = 1;
} finally {
  await Service.stopAll();
  for (const { namespace } of Object.values(HOSTS)) spawnSync('ip', ['netns', 'del', namespace]);
  closeSync(log);
  rmSync(directory, { recursive: true });
}
