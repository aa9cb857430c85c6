#!/usr/bin/env node
// Highest rate without loss of each capture engine, beside `tcpdump -w FILE`, between two network namespaces.
//
//   sudo node test/bench/live.mjs [--shapes 64k,1514] [--seconds 5]         about ten minutes on two quiet cores
//   sudo node test/bench/live.mjs --soak MINUTES --rate GBIT [--engine tcpdump] [--shape 64k]
//
// One TCP stream at a given rate: as the kernel's own large segments (offload on, 64k), or cut to the link's frames
// (9014 or 1514 bytes). Sender, receiver, capture and analysis share the machine. Lost = counted by the interface, not
// seen by the capture; so it also finds what an engine does not count.
//
// The search begins as fast as the sender gets; where that loses, it halves the range between what lost and what did
// not on a scale of ratios, and the rate it comes to must hold twice more, or the next lower one is taken. A ring of
// 128 MiB hides an excess of 0.2 Gbit/s for five seconds: so much a figure may be too good.
// With --soak one live capture runs at one rate; its memory and CPU time are printed every ten seconds.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    shapes: { type: 'string', default: '64k,1514' },
    engines: { type: 'string', default: 'tcpdump -w,tcpdump,dumpcap,cap' },
    seconds: { type: 'string', default: '5' },
    soak: { type: 'string' },
    rate: { type: 'string', default: '0.5' },
    engine: { type: 'string', default: 'tcpdump' },
    shape: { type: 'string', default: '64k' },
  },
});
/** Of the link: offload leaves segments of up to 64 KiB in one piece. */
const SHAPES = {
  '64k': { offload: 'on', mtu: 1500, text: 'segments of up to 64 KiB' },
  9014: { offload: 'off', mtu: 9000, text: '9014-byte frames' },
  1514: { offload: 'off', mtu: 1500, text: '1514-byte frames' },
};
const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));
const NAMES = { a: `bench-a-${process.pid}`, b: `bench-b-${process.pid}` };
const folder = mkdtempSync(join(tmpdir(), 'bench-live-'));

function ip(...args) {
  const { status, stdout, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
  return stdout;
}
const inside = (host, ...command) =>
  spawn('ip', ['netns', 'exec', NAMES[host], ...command], { stdio: ['ignore', 'pipe', 'pipe'] });
const ended = (child) => new Promise((resolve) => child.once('close', resolve));

/** Collects what a child says; `until` waits for a pattern. */
function listen(child) {
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (d) => (text = (text + d).slice(-1e6)));
  return {
    get text() {
      return text;
    },
    async until(pattern) {
      while (!pattern.test(text)) {
        if (child.exitCode !== null) throw new Error(`ended: ${text}`);
        await sleep(20);
      }
    },
  };
}

const SINK = "require('net').createServer(s => s.resume()).listen(7000, '10.98.0.2', () => console.log('listening'))";
// Ahead of its schedule the sender waits a millisecond; behind, it writes as fast as the socket takes.
const SENDER = `
const [rate, seconds] = process.argv.slice(1).map(Number), chunk = Buffer.alloc(65536, 7);
const s = require('net').connect(7000, '10.98.0.2'); let sent = 0, start = 0;
const go = () => {
  const t = performance.now() - start;
  if (t > seconds * 1000) { console.log(sent * 8 / t / 1e6); s.destroy(); return; }
  if (sent > rate * 125e3 * t) { setTimeout(go, 1); return; }
  sent += chunk.length;
  if (s.write(chunk)) setImmediate(go); else s.once('drain', go);
};
s.once('connect', () => { start = performance.now(); go(); });`;

/** Frames that crossed the device, both ways. */
function framesCounted() {
  const line = ip('netns', 'exec', NAMES.a, 'cat', '/proc/net/dev')
    .split('\n')
    .find((l) => l.includes('va:'));
  const fields = line.split(':')[1].trim().split(/\s+/).map(Number);
  return fields[1] + fields[9];
}

/** Sends at `rate` Gbit/s, Infinity for as fast as it goes; the rate reached. */
async function send(rate, seconds) {
  const sender = inside('a', process.execPath, '-e', SENDER, String(rate), String(seconds));
  const said = listen(sender);
  await ended(sender);
  return Number(said.text.trim());
}

const TICKS_HZ = 100;
/** CPU seconds and resident MB of a process and its children. */
function usage(pid) {
  let cpuSeconds = 0;
  let residentMb = 0;
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean);
  for (const each of [pid, ...children]) {
    const fields = readFileSync(`/proc/${each}/stat`, 'utf8').split(') ')[1].split(' ');
    cpuSeconds += (Number(fields[11]) + Number(fields[12])) / TICKS_HZ;
    residentMb += Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${each}/status`, 'utf8'))[1]) / 1024;
  }
  return { cpuSeconds, residentMb };
}

async function startEngine(engine) {
  const json = join(folder, 'out.json');
  const child =
    engine === 'tcpdump -w'
      ? inside('a', 'tcpdump', '-i', 'va', '-n', '-B', '131072', '-Z', 'root', '-w', join(folder, 'out.pcap'))
      : inside('a', process.execPath, CLI, 'live', '-i', 'va', '--engine', engine, '--json', json, '--force');
  const said = listen(child);
  await said.until(/listening on|capturing on/);
  return {
    child,
    async stop() {
      child.kill('SIGINT');
      await ended(child);
      return engine === 'tcpdump -w'
        ? Number(/(\d+) packets? captured/.exec(said.text)[1])
        : JSON.parse(readFileSync(json, 'utf8')).capture.frames;
    },
  };
}

function setShape({ offload, mtu }) {
  for (const [name, device] of [
    [NAMES.a, 'va'],
    [NAMES.b, 'vb'],
  ]) {
    ip('-n', name, 'link', 'set', device, 'mtu', String(mtu));
    const features = ['tso', offload, 'gso', offload, 'gro', offload];
    spawnSync('ip', ['netns', 'exec', name, 'ethtool', '-K', device, ...features]);
  }
}

/** How long after the last frame all must have been seen: the engines hand on what waits once a second. */
const SETTLE_MS = 1500;

/** One rate with one engine, from start to end. */
async function probe(engine, rate, seconds) {
  const running = await startEngine(engine);
  const before = framesCounted();
  const { cpuSeconds: cpuBefore } = usage(running.child.pid);
  const reached = await send(rate, seconds);
  await sleep(SETTLE_MS);
  const counted = framesCounted() - before;
  const cpuShare = (usage(running.child.pid).cpuSeconds - cpuBefore) / seconds;
  const lost = Math.max(0, counted - (await running.stop()));
  return { reached, framesPerSecond: counted / seconds, lost, lostShare: lost / counted, cpuShare };
}

const HALVINGS = 5;
const CONFIRMATIONS = 2;
const LOWEST_GBIT = 0.05;
/** A frame of the host's own may be counted and come too late to be seen. */
const STRAY_FRAMES = 2;
const isLossFree = ({ lost }) => lost <= STRAY_FRAMES;
/** The sender did not get so far as it was asked to: the capture may be able to do more. */
const isSenderLimited = (rate, { reached }) => reached < 0.9 * rate;

/** The best probe without loss, or null; `limit` says whether the sender or the capture set it. */
async function highestRate(engine, seconds) {
  const show = (rate, { reached, framesPerSecond, lost, lostShare, cpuShare }) =>
    console.error(
      `  ${engine}: asked ${rate.toFixed(2)}, sent ${reached.toFixed(2)} Gbit/s, ${Math.round(framesPerSecond)} frames/s, ` +
        `lost ${lost} (${(100 * lostShare).toFixed(2)} %), CPU ${(100 * cpuShare).toFixed(0)} %`,
    );
  const holds = async (rate) => {
    const result = await probe(engine, rate, seconds);
    show(rate, result);
    return result;
  };
  const confirmed = async (rate) => {
    for (let again = 0; again < CONFIRMATIONS; again++) if (!isLossFree(await holds(rate))) return false;
    return true;
  };
  const first = await holds(Infinity);
  if (isLossFree(first) && (await confirmed(Infinity))) return { ...first, limit: 'sender' };
  /** Probes without loss, slowest first. */
  const good = [];
  let low = LOWEST_GBIT;
  let high = first.reached;
  for (let step = 0; step < HALVINGS; step++) {
    const rate = Math.sqrt(low * high);
    const result = await holds(rate);
    if (!isLossFree(result)) high = rate;
    else {
      good.push({ rate, result });
      low = rate;
    }
  }
  for (let best = good.pop(); best; best = good.pop()) {
    const limit = isSenderLimited(best.rate, best.result) ? 'sender' : 'capture';
    if (await confirmed(best.rate)) return { ...best.result, limit };
  }
  return null;
}

async function search() {
  const seconds = Number(options.seconds);
  const engines = options.engines.split(',');
  const load = loadavg()[0].toFixed(1);
  console.log(
    `${cpus().length} cores, ${cpus()[0].model}, Node ${process.version}, load ${load} before; ${seconds} s a probe\n`,
  );
  console.log('| | engine | highest rate without loss | frames/s | CPU of capture and analysis |');
  console.log('|---|---|---|---|---|');
  for (const name of options.shapes.split(',')) {
    setShape(SHAPES[name]);
    for (const engine of engines) {
      const best = await highestRate(engine, seconds);
      const cells = best
        ? [
            `${best.limit === 'sender' ? '≥ ' : ''}${best.reached.toFixed(2)} Gbit/s`,
            Math.round(best.framesPerSecond).toLocaleString('en'),
            `${(100 * best.cpuShare).toFixed(0)} % of a core`,
          ]
        : [`below ${LOWEST_GBIT} Gbit/s`, '', ''];
      console.log(`| ${[SHAPES[name].text, `\`${engine}\``, ...cells].join(' | ')} |`);
    }
  }
}

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];

async function soak() {
  setShape(SHAPES[options.shape]);
  const running = await startEngine(options.engine);
  const seconds = Number(options.soak) * 60;
  const before = framesCounted();
  const start = performance.now();
  const sending = send(Number(options.rate), seconds);
  let last = usage(running.child.pid).cpuSeconds;
  const rows = [];
  for (let at = 10; at <= seconds; at += 10) {
    await sleep(Math.max(0, at * 1000 - (performance.now() - start)));
    const { cpuSeconds, residentMb } = usage(running.child.pid);
    const cpu = (cpuSeconds - last) * 10;
    rows.push({ cpu, residentMb });
    console.log(`${String(at).padStart(5)} s  CPU ${cpu.toFixed(0)} %  resident ${residentMb.toFixed(0)} MB`);
    last = cpuSeconds;
  }
  const reached = await sending;
  await sleep(SETTLE_MS);
  const counted = framesCounted() - before;
  const lost = Math.max(0, counted - (await running.stop()));
  console.log(
    `${options.engine}, ${SHAPES[options.shape].text}: ${reached.toFixed(2)} Gbit/s, ${counted} frames, lost ${lost}`,
  );
  // The first ten seconds fill rings, windows and the compiler's caches.
  const part = Math.max(1, Math.floor(rows.length / 5));
  for (const [what, unit] of [
    ['cpu', '%'],
    ['residentMb', 'MB'],
  ]) {
    const values = rows.slice(1).map((row) => row[what]);
    const [from, to] = [median(values.slice(0, part)), median(values.slice(-part))];
    console.log(`${what}: median of the first fifth ${from.toFixed(1)} ${unit}, of the last ${to.toFixed(1)} ${unit}`);
  }
}

try {
  for (const name of Object.values(NAMES)) ip('netns', 'add', name);
  ip('link', 'add', 'va', 'netns', NAMES.a, 'type', 'veth', 'peer', 'name', 'vb', 'netns', NAMES.b);
  ip('-n', NAMES.a, 'addr', 'add', '10.98.0.1/24', 'dev', 'va');
  ip('-n', NAMES.b, 'addr', 'add', '10.98.0.2/24', 'dev', 'vb');
  ip('-n', NAMES.a, 'link', 'set', 'va', 'up');
  ip('-n', NAMES.b, 'link', 'set', 'vb', 'up');
  const sink = inside('b', process.execPath, '-e', SINK);
  await listen(sink).until(/listening/);
  await (options.soak === undefined ? search() : soak());
  sink.kill();
} finally {
  for (const name of Object.values(NAMES)) spawnSync('ip', ['netns', 'del', name]);
  rmSync(folder, { recursive: true });
}
