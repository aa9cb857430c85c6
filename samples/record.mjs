#!/usr/bin/env node
// Records one real QEMU live migration: NAME.pcap.gz, and NAME.truth.json with what QEMU and the kernel said about the same run.
//
// Two network namespaces play the two hosts. They are joined by a veth pair (the kernel's own token bucket sets the rate, frames
// keep their offloaded size), or, when a delay, queue or loss is asked for, by the relay in record/link.c (frames of 1514 bytes at most).
// The guest is record/guest.asm under TCG. Everything is removed afterwards.
//
// Needs root, Linux, Node 20 and the Debian packages qemu-system-x86, tcpdump, iproute2, nasm, and gcc for the relay.
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
  --mem MIB               guest memory (default 64)
  --filled MIB            how much of it is not zero (default 24)
  --dirty-range MIB-MIB   what the guest keeps writing to (default 8-12)
  --dirty-rate PAGES      pages written a second, in steps of 100 (default 2000)
  --capability NAME       on both hosts; may be repeated
  --parameter NAME=VALUE  migration parameter of the source, multifd ones of both; may be repeated
  --postcopy-after S      switch to post-copy S seconds after the start
  --cancel-after S        cancel S seconds after the start
  --timeout S             give up and cancel (default 120)
  --rate MBIT             link rate (default 400)
  --delay MS              one way (default 0)
  --loss PERCENT          of frames, at random, each way (default 0)
  --queue KIB             queue before the link when it has a delay or loss (default 256)
  --seed N                of the random loss (default 1)
  --cc NAME               congestion control of both hosts (default cubic)
  --rmem BYTES            largest receive buffer of the destination
  --side src|dst|both     where to capture; the destination's goes to NAME.dst.pcap.gz (default src)
  --snaplen BYTES         default 0, whole frames
`;

const SETTINGS = {
  out: here,
  qemu: 'qemu-system-x86_64',
  machine: 'pc',
  mem: '64',
  filled: '24',
  'dirty-range': '8-12',
  'dirty-rate': '2000',
  capability: [],
  parameter: [],
  'postcopy-after': undefined,
  'cancel-after': undefined,
  timeout: '120',
  rate: '400',
  delay: '0',
  loss: '0',
  queue: '256',
  seed: '1',
  cc: 'cubic',
  rmem: undefined,
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
const PAGE_BYTES = 4096;
const GUEST_TICK_HZ = 100; // as in guest.asm, like the next two
const GUEST_READY_ADDRESS = 0x7e00;
const GUEST_READY_MARK = '0x600d600d';
const QUERY_INTERVAL_MS = 250;
const ENDED = new Set(['completed', 'failed', 'cancelled']);

const epochSeconds = () => Date.now() / 1000;

/** Runs a command to its end and returns what it printed. Throws with its error text when it fails. */
function run(command, ...args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 64 * MIB });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

/** The same inside a host's network namespace. */
const runIn = (host, ...command) => run('ip', 'netns', 'exec', host.namespace, ...command);

/** A long-running process that has to be stopped at the end; `text()` is what it printed so far. */
class Service {
  static #running = [];

  constructor(command, args, stdio = ['ignore', 'pipe', 'pipe']) {
    this.process = spawn(command, args, { stdio });
    this.ended = new Promise((resolve) => this.process.once('close', resolve).once('error', resolve));
    this.output = '';
    if (stdio[0] === 'ignore')
      for (const stream of [this.process.stdout, this.process.stderr])
        stream.on('data', (d) => {
          this.output += d;
        });
    Service.#running.push(this);
  }

  text() {
    return this.output;
  }

  async stop(signal = 'SIGTERM') {
    this.process.kill(signal);
    await this.ended;
  }

  static async stopAll() {
    for (const service of Service.#running.splice(0).reverse()) await service.stop();
  }
}

/** A QEMU with its monitor (QMP) on standard input and output: nothing of it is in the file system, so a chroot is no obstacle. */
class Qemu extends Service {
  #waiting = [];
  #listeners = new Map();
  events = [];

  /** `image`: the guest's disk as two descriptors, for reading and for writing; QEMU picks from its set by access mode. */
  constructor(host, options, log, image, extra) {
    const [command, ...prefix] = options.qemu.split(/\s+/);
    super(
      'ip',
      [
        'netns',
        'exec',
        host.namespace,
        command,
        ...prefix,
        '-accel',
        'tcg',
        '-machine',
        options.machine,
        '-m',
        options.mem,
        '-nodefaults',
        '-display',
        'none',
        '-qmp',
        'stdio',
        '-add-fd',
        'fd=3,set=1',
        '-add-fd',
        'fd=4,set=1',
        '-drive',
        'file=/dev/fdset/1,format=raw,if=ide,file.locking=off',
        ...extra,
      ],
      ['pipe', 'pipe', log, ...image],
    );
    this.ended.then(() =>
      this.#waiting.splice(0).forEach(({ reject }) => reject(new Error(`QEMU on ${host.namespace} ended`))),
    );
    this.process.stdin.on('error', () => {}); // a QEMU that died is reported by `ended`
    createInterface({ input: this.process.stdout }).on('line', (line) => this.#receive(JSON.parse(line)));
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
      this.process.stdin.write(`${JSON.stringify({ execute: command, arguments: parameters })}\n`);
    });
  }
}

function readOptions() {
  const multiple = (value) => Array.isArray(value);
  const options = Object.fromEntries(
    Object.entries(SETTINGS).map(([name, value]) => [
      name,
      { type: 'string', multiple: multiple(value), ...(value === undefined ? {} : { default: value }) },
    ]),
  );
  const { values, positionals } = parseArgs({
    options: { ...options, help: { type: 'boolean' } },
    allowPositionals: true,
  });
  if (values.help || positionals.length !== 1) {
    process.stdout.write(HELP);
    process.exit(values.help ? 0 : 2);
  }
  return { ...values, name: positionals[0] };
}

function buildGuest(options, directory) {
  const [dirtyStart, dirtyEnd] = options['dirty-range'].split('-').map((mib) => Number(mib) * MIB);
  const defines = {
    FILL_END: Number(options.filled) * MIB,
    DIRTY_START: dirtyStart,
    DIRTY_END: dirtyEnd,
    PAGES_PER_TICK: Math.round(Number(options['dirty-rate']) / GUEST_TICK_HZ),
  };
  const image = join(directory, 'guest.img');
  run(
    'nasm',
    '-f',
    'bin',
    ...Object.entries(defines).map(([name, value]) => `-D${name}=${value}`),
    '-o',
    image,
    join(here, 'record/guest.asm'),
  );
  return [openSync(image, 'r'), openSync(image, 'r+')];
}

/** Makes the two hosts and the link between them. Returns the relay, or null when the link is a veth pair. */
async function buildNetwork(options, directory) {
  const { src, dst } = HOSTS;
  const relayed = ['delay', 'loss'].some((name) => Number(options[name]) > 0);
  let relay = null;
  for (const host of [src, dst]) run('ip', 'netns', 'add', host.namespace);
  if (relayed) {
    const program = join(directory, 'link');
    run('gcc', '-O2', '-o', program, join(here, 'record/link.c'));
    relay = new Service(
      program,
      [
        src.device,
        dst.device,
        options.rate * 1e6,
        options.delay * 1e3,
        options.queue * 1024,
        options.loss * 1e4,
        options.seed,
      ].map((argument) => String(typeof argument === 'number' ? Math.round(argument) : argument)),
    );
    while (!relay.text().startsWith('ready')) await sleep(10);
  } else {
    run('ip', 'link', 'add', src.device, 'type', 'veth', 'peer', 'name', dst.device);
  }
  for (const host of [src, dst]) {
    run('ip', 'link', 'set', host.device, 'netns', host.namespace, 'name', 'eth0');
    runIn(host, 'ip', 'addr', 'add', `${host.address}/24`, 'dev', 'eth0');
    runIn(host, 'ip', 'link', 'set', 'eth0', 'up');
    // By route: a namespace's own default may only name an algorithm that unprivileged users may choose.
    runIn(host, 'ip', 'route', 'replace', NETWORK, 'dev', 'eth0', 'congctl', options.cc);
  }
  if (!relayed)
    runIn(
      src,
      'tc',
      'qdisc',
      'add',
      'dev',
      'eth0',
      'root',
      'tbf',
      'rate',
      `${options.rate}mbit`,
      'burst',
      '256k',
      'latency',
      '50ms',
    );
  if (options.rmem) runIn(dst, 'sh', '-c', `echo 4096 ${options.rmem} ${options.rmem} > /proc/sys/net/ipv4/tcp_rmem`);
  return relay;
}

async function startCapture(host, options, file) {
  const tcpdump = new Service('ip', [
    'netns',
    'exec',
    host.namespace,
    'tcpdump',
    '-n',
    '-i',
    'eth0',
    '-s',
    options.snaplen,
    '-B',
    '65536',
    '-Z',
    'root',
    '-w',
    file,
  ]);
  while (!tcpdump.text().includes('listening on')) await sleep(10);
  return {
    file,
    async stop() {
      await tcpdump.stop('SIGINT');
      const count = (what) => Number(new RegExp(`(\\d+) packets? ${what}`).exec(tcpdump.text())?.[1]);
      return { frames: count('captured'), droppedByKernel: count('dropped by kernel') };
    },
  };
}

const parameterValue = (text) => (/^(true|false|\d+)$/.test(text) ? JSON.parse(text) : text);

async function configure(qemus, options) {
  const capabilities = ['events', ...options.capability].map((capability) => ({ capability, state: true }));
  const parameters = options.parameter
    .map((pair) => pair.split('='))
    .map(([name, value]) => [name, parameterValue(value)]);
  const shared = parameters.filter(([name]) => name.startsWith('multifd'));
  for (const qemu of Object.values(qemus)) await qemu.execute('migrate-set-capabilities', { capabilities });
  if (parameters.length) await qemus.src.execute('migrate-set-parameters', Object.fromEntries(parameters));
  if (shared.length) await qemus.dst.execute('migrate-set-parameters', Object.fromEntries(shared));
}

async function guestReady(qemu) {
  const command = { 'command-line': `xp /1wx ${GUEST_READY_ADDRESS}` };
  while (!(await qemu.execute('human-monitor-command', command)).includes(GUEST_READY_MARK)) await sleep(50);
}

/** Carries out the migration; returns query-migrate as it was on the way, at most one answer each QUERY_INTERVAL_MS. */
async function migrate(qemus, options) {
  const { src } = qemus;
  const samples = [];
  const timers = [];
  const after = (seconds, command) => {
    if (seconds !== undefined)
      timers.push(setTimeout(() => src.execute(command).catch(() => {}), Number(seconds) * 1000));
  };
  const ended = new Promise((resolve) =>
    src.on('MIGRATION', ({ status }) => {
      if (ENDED.has(status)) resolve();
    }),
  );
  await src.execute('migrate', { uri: `tcp:${HOSTS.dst.address}:${PORT}` });
  after(options['postcopy-after'], 'migrate-start-postcopy');
  after(options['cancel-after'], 'migrate_cancel');
  after(options.timeout, 'migrate_cancel');
  while (await Promise.race([ended.then(() => false), sleep(QUERY_INTERVAL_MS, true)])) {
    samples.push({ t: epochSeconds(), ...(await src.execute('query-migrate')) });
  }
  timers.forEach(clearTimeout);
  return samples;
}

/** The source's migration connections from `ss` lines: both addresses and every `name:value` of tcp_info as ss names it. */
function connectionCounters(text) {
  return text
    .split('\n')
    .filter((line) => line.includes(`${HOSTS.dst.address}:${PORT}`))
    .map((line) => {
      const [, , , local, peer, ...fields] = line.trim().split(/\s+/);
      const pairs = fields.map((field) => /^(\w+):(.+)$/.exec(field)).filter(Boolean);
      return {
        local,
        peer,
        ...Object.fromEntries(pairs.map(([, name, value]) => [name, /^[\d.]+$/.test(value) ? Number(value) : value])),
      };
    });
}

/** A host's TCP counters that are not zero. Its namespace lives for one run, so they are the run's own. */
function hostCounters(host) {
  const lines = runIn(host, 'nstat', '-as')
    .split('\n')
    .filter((line) => line.startsWith('Tcp'));
  return Object.fromEntries(lines.map((line) => line.split(/\s+/)).map(([name, value]) => [name, Number(value)]));
}

const thinned = (items, count) => items.filter((_, i) => i % Math.ceil(items.length / count) === 0);

async function record(options) {
  const directory = mkdtempSync(join(tmpdir(), 'record-'));
  const log = openSync(join(directory, 'qemu.log'), 'w+');
  const truth = { versions: {}, options: { ...options, qemu: undefined, out: undefined } };
  try {
    const image = buildGuest(options, directory);
    const relay = await buildNetwork(options, directory);
    const captures = {};
    for (const side of ['src', 'dst']) {
      if ([side, 'both'].includes(options.side))
        captures[side] = await startCapture(HOSTS[side], options, join(directory, `${side}.pcap`));
    }
    // -E reports a socket as the kernel destroys it: each connection's last counters. Unbuffered, or the last lines would be lost.
    const sockets = new Service('ip', ['netns', 'exec', HOSTS.src.namespace, 'stdbuf', '-oL', 'ss', '-E', '-tinOH']);
    const qemus = {
      src: new Qemu(HOSTS.src, options, log, image, []),
      dst: new Qemu(HOSTS.dst, options, log, image, ['-incoming', 'defer']),
    };
    for (const qemu of Object.values(qemus)) await qemu.execute('qmp_capabilities');
    const { major, minor, micro } = (await qemus.src.execute('query-version')).qemu;
    truth.versions = {
      qemu: `${major}.${minor}.${micro}`,
      kernel: release(),
      tcpdump: /\d[\d.]+/.exec(run('tcpdump', '--version'))[0],
    };
    await configure(qemus, options);
    await qemus.dst.execute('migrate-incoming', { uri: `tcp:${HOSTS.dst.address}:${PORT}` });
    await guestReady(qemus.src);

    truth.startedAt = epochSeconds();
    const samples = await migrate(qemus, options);
    truth.endedAt = epochSeconds();
    await sleep(1000); // the last acknowledgements, the destination's resume, and its announcements
    truth.final = await qemus.src.execute('query-migrate');
    truth.samples = thinned(samples, 20);
    truth.destinationStatus = (
      await qemus.dst.execute('query-status').catch((error) => ({ status: error.message }))
    ).status;
    truth.events = { source: qemus.src.events, destination: qemus.dst.events };
    for (const qemu of Object.values(qemus)) await qemu.stop();
    await sleep(500);
    await sockets.stop();
    truth.kernel = {
      connections: connectionCounters(sockets.text()),
      source: hostCounters(HOSTS.src),
      destination: hostCounters(HOSTS.dst),
    };

    truth.captures = {};
    for (const [side, capture] of Object.entries(captures)) {
      const counts = await capture.stop();
      const bytes = readFileSync(capture.file);
      const packed = gzipSync(bytes, { level: 9 });
      const file = side === 'src' ? `${options.name}.pcap.gz` : `${options.name}.dst.pcap.gz`;
      writeFileSync(join(options.out, file), packed);
      truth.captures[side] = {
        file,
        ...counts,
        bytes: bytes.length,
        packedBytes: packed.length,
        packedSha256: createHash('sha256').update(packed).digest('hex'),
      };
    }
    if (relay) {
      await relay.stop();
      truth.link = JSON.parse(relay.text().split('\n')[1]);
    } else {
      truth.link = runIn(HOSTS.src, 'tc', '-s', 'qdisc', 'show', 'dev', 'eth0').trim();
    }
    writeFileSync(join(options.out, `${options.name}.truth.json`), `${JSON.stringify(truth, null, 1)}\n`);
    return truth;
  } catch (error) {
    error.message += `\n${readFileSync(join(directory, 'qemu.log'), 'utf8')}`;
    throw error;
  } finally {
    await Service.stopAll();
    for (const { namespace } of Object.values(HOSTS)) spawnSync('ip', ['netns', 'del', namespace]);
    closeSync(log);
    rmSync(directory, { recursive: true });
  }
}

const { final, captures, kernel } = await record(readOptions());
console.log(JSON.stringify({ final, captures, retransmitted: kernel.source.TcpRetransSegs }, null, 1));
