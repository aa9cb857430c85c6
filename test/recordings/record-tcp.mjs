#!/usr/bin/env node
// Records single TCP transfers that show one thing each: NAME.pcap.gz, headers only.
//
//   record-tcp.mjs NAME…    one or more of SCENARIOS; into the current directory
//
// Namespaces, joined by veth pairs or, where a delay is wanted, by the relay of samples/record/link.c. Needs root on Linux,
// tcpdump, iproute2, iptables, gcc and python3.
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const tag = `rt${process.pid}`;
const NODES = { s: `${tag}s`, d: `${tag}d`, r: `${tag}r`, q: `${tag}q` };
const PORT = 49152;

/** Runs a command; spaces separate its words. */
function run(line, ...more) {
  const [command, ...args] = [...line.trim().split(/\s+/), ...more];
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`${line}: ${error?.message ?? stderr.trim()}`);
}
const inside = (node, line, ...more) => run(`ip netns exec ${NODES[node]} ${line}`, ...more);
const set = (node, name, value) => inside(node, 'sysctl -qw', `net.ipv4.${name}=${value}`);

const relays = [];

/**
 * Joins two nodes: devices named after the far end, with addresses 10.9.NET.1 and .2. With `delayMs` or `mbit` by the relay
 * (frames of at most 1514 bytes, both ways alike), otherwise by a veth pair (frames of up to 64 KiB).
 */
async function join(a, b, net, { delayMs, mbit = 1000 } = {}) {
  const names = [`${tag}${a}${b}`, `${tag}${b}${a}`];
  if (delayMs === undefined) run(`ip link add ${names[0]} type veth peer name ${names[1]}`);
  else {
    const figures = [mbit * 1e6, delayMs * 1e3, 4 << 20, 0, 1].map(String);
    const relay = spawn('./link', [...names, ...figures], { stdio: ['ignore', 'pipe', 'inherit'] });
    relays.push(relay);
    await new Promise((ready) => relay.stdout.once('data', ready));
  }
  for (const [node, far, host] of [
    [a, b, 1],
    [b, a, 2],
  ]) {
    run(`ip link set ${tag}${node}${far} netns ${NODES[node]} name to-${far}`);
    inside(node, `ip addr add 10.9.${net}.${host}/24 dev to-${far}`);
    inside(node, `ip link set to-${far} up`);
    inside(node, `ip route replace 10.9.${net}.0/24 dev to-${far} congctl cubic`);
  }
}

const SENDER = `
  const [host, port, plan] = process.argv.slice(1);
  const sleep = (s) => new Promise((done) => setTimeout(done, 1000 * s));
  const socket = require('net').connect({ host, port: Number(port) }, async () => {
    for (const step of JSON.parse(plan)) {
      if (step.wait) await sleep(step.wait);
      for (let left = step.bytes ?? 0; left > 0; left -= 65536) {
        if (!socket.write(Buffer.alloc(Math.min(left, 65536), 97))) await new Promise((done) => socket.once('drain', done));
      }
    }
    socket.end();
  });`;
const RECEIVER = `
  const [port, pauseAt, pauseFor] = process.argv.slice(1).map(Number);
  let bytes = 0, paused = false;
  require('net').createServer((socket) => {
    socket.on('data', (data) => {
      bytes += data.length;
      if (!paused && pauseFor > 0 && bytes >= pauseAt) {
        paused = true;
        socket.pause();
        setTimeout(() => socket.resume(), 1000 * pauseFor);
      }
    });
    socket.on('end', () => process.exit());
  }).listen(port);`;

// As a send buffer of `most` bytes would do, which the kernel that these were recorded on overruns several times.
const BUFFERED_SENDER = `
import fcntl, socket, struct, sys, termios, time
host, port, most, left = sys.argv[1], *map(int, sys.argv[2:])
sender = socket.create_connection((host, port))
while left > 0:
    room = most - struct.unpack('i', fcntl.ioctl(sender, termios.TIOCOUTQ, bytes(4)))[0]
    if room < 1448: time.sleep(0.0003)
    else: left -= sender.send(bytes(min(room, left)))
sender.close()`;

/**
 * Sends by `plan` ([{ wait seconds }, { bytes }, …]), or by `command`, while tcpdump listens on `device`, at the sender if not
 * said otherwise. `meanwhile` runs beside.
 */
async function transfer(
  name,
  { plan, command, to = '10.9.1.2', port = PORT, device = 'to-d', pause = [0, 0], meanwhile, at = 's' },
) {
  const start = (node, ...args) => {
    const child = spawn('ip', ['netns', 'exec', NODES[node], ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
    return { child, ended: new Promise((done) => child.once('close', done)) };
  };
  const file = `${name}.pcap`;
  const tcpdump = start(at, 'tcpdump', '-q', '-n', '-i', device, '-s', '128', '-B', '16384', '-Z', 'root', '-w', file);
  const receiver = start('d', process.execPath, '-e', RECEIVER, String(port), ...pause.map(String));
  await sleep(1000);
  const sender = start('s', ...(command ?? [process.execPath, '-e', SENDER, to, String(port), JSON.stringify(plan)]));
  await meanwhile?.();
  await sender.ended;
  await receiver.ended;
  await sleep(500);
  tcpdump.child.kill('SIGINT');
  await tcpdump.ended;
  const packed = gzipSync(readFileSync(file), { level: 9 });
  writeFileSync(`${file}.gz`, packed);
  rmSync(file);
  console.log(`${name}: ${packed.length} bytes`);
}

/** s – r – d, and s – q – d with 15 ms more. The hosts are 10.9.1.1 and 10.9.1.2 on either way; at first over r. */
async function twoWays() {
  await join('s', 'r', 2);
  await join('r', 'd', 3, { delayMs: 5, mbit: 100 });
  await join('s', 'q', 4);
  await join('q', 'd', 5, { delayMs: 20, mbit: 100 });
  for (const node of ['r', 'q']) set(node, 'ip_forward', 1);
  for (const node of ['s', 'd', 'r', 'q']) set(node, 'conf.all.rp_filter', 0);
  inside('d', 'ip addr add 10.9.1.2/32 dev lo');
  inside('s', 'ip addr add 10.9.1.1/32 dev lo');
  inside('r', 'ip route add 10.9.1.2 via 10.9.3.2');
  inside('r', 'ip route add 10.9.1.1 via 10.9.2.1');
  inside('q', 'ip route add 10.9.1.2 via 10.9.5.2');
  inside('q', 'ip route add 10.9.1.1 via 10.9.4.1');
  inside('s', 'ip route add 10.9.1.2 via 10.9.2.2 src 10.9.1.1');
  inside('d', 'ip route add 10.9.1.1 via 10.9.3.1 src 10.9.1.2');
}

const MB = 1e6;
const SCENARIOS = {
  // A LAN with nothing wrong, 200 Mbit/s.
  async plain() {
    await join('s', 'd', 1, { delayMs: 1, mbit: 200 });
    await transfer('plain', { plan: [{ bytes: 3 * MB }] });
  },
  // After two seconds both hosts route over the other router, which is 15 ms farther away and takes one hop more.
  async 'path-change'() {
    await twoWays();
    inside('q', 'iptables -t mangle -A FORWARD -j TTL --ttl-dec 1');
    await transfer('path-change', {
      device: 'any',
      plan: Array.from({ length: 60 }, () => [{ wait: 0.07 }, { bytes: 0.05 * MB }]).flat(),
      async meanwhile() {
        await sleep(2000);
        inside('s', 'ip route replace 10.9.1.2 via 10.9.4.2 src 10.9.1.1');
        inside('d', 'ip route replace 10.9.1.1 via 10.9.5.1 src 10.9.1.2');
      },
    });
  },
  // The same, but the other way has as many hops: only the round trip tells.
  async 'longer-path'() {
    await twoWays();
    await transfer('longer-path', {
      device: 'any',
      command: ['python3', '-c', BUFFERED_SENDER, '10.9.1.2', String(PORT), String(16 << 10), String(3 * MB)],
      async meanwhile() {
        await sleep(2000);
        inside('s', 'ip route replace 10.9.1.2 via 10.9.4.2 src 10.9.1.1');
        inside('d', 'ip route replace 10.9.1.1 via 10.9.5.1 src 10.9.1.2');
      },
    });
  },
  // At most 128 KiB are in the sender's socket, on a path that would hold four times as much.
  async 'send-buffer'() {
    await join('s', 'd', 1, { delayMs: 20, mbit: 100 });
    const command = ['python3', '-c', BUFFERED_SENDER, '10.9.1.2', String(PORT), String(128 << 10), String(4 * MB)];
    await transfer('send-buffer', { command });
  },
  // The receiver reads nothing for four seconds.
  async probes() {
    await join('s', 'd', 1, { delayMs: 1, mbit: 200 });
    await transfer('probes', { plan: [{ bytes: 4 * MB }], pause: [1 * MB, 4] });
  },
  // Bursts of 1 MB with pauses of a second, over 40 ms.
  async restarts() {
    await join('s', 'd', 1, { delayMs: 40, mbit: 400 });
    await transfer('restarts', { plan: Array.from({ length: 6 }, () => [{ bytes: MB }, { wait: 1.2 }]).flat() });
  },
  // Neither window scaling nor SACK.
  async 'few-options'() {
    await join('s', 'd', 1, { delayMs: 5, mbit: 200 });
    set('d', 'tcp_window_scaling', 0);
    set('d', 'tcp_sack', 0);
    await transfer('few-options', { plan: [{ bytes: 4 * MB }] });
  },
  // A router with a smaller MTU behind it, which says so.
  async 'small-mtu'() {
    await twoWays();
    inside('r', 'ip link set to-d mtu 1300');
    await transfer('small-mtu', { device: 'to-r', plan: [{ bytes: 3 * MB }] });
  },
  // The same router, but packets may be cut: every full one arrives as two fragments. Taken at the receiver.
  async fragments() {
    await twoWays();
    inside('r', 'ip link set to-d mtu 1300');
    set('s', 'ip_no_pmtu_disc', 1); // packets without DF
    for (const [node, device] of [
      ['s', 'to-r'],
      ['r', 'to-s'],
    ]) {
      inside(node, `ethtool -K ${device} tso off gso off gro off`);
    }
    await transfer('fragments', { at: 'd', device: 'to-r', plan: [{ bytes: 1.5 * MB }] });
  },
  // Sixty megabytes to the port of SSH.
  async 'through-ssh'() {
    await join('s', 'd', 1);
    await transfer('through-ssh', { port: 22, plan: [{ bytes: 60 * MB }] });
  },
};

run(`gcc -O2 -o link ${fileURLToPath(new URL('../../samples/record/link.c', import.meta.url))}`);
for (const name of process.argv.slice(2)) {
  try {
    for (const namespace of Object.values(NODES)) run(`ip netns add ${namespace}`);
    for (const node of Object.keys(NODES)) inside(node, 'ip link set lo up');
    await SCENARIOS[name]();
  } finally {
    for (const relay of relays.splice(0)) relay.kill();
    for (const namespace of Object.values(NODES)) spawnSync('ip', ['netns', 'del', namespace]);
  }
}
rmSync('link');
