#!/usr/bin/env node
// Highest rate without loss of each capture engine, beside `tcpdump -w FILE`, between two network namespaces.
//
//   sudo node test/bench/live.mjs [--seconds 4] [--rates 0.5,1,2,3,4,6,8] [--soak SECONDS --soak-rate GBIT]
//
// One TCP stream at a given rate, once as the kernel's own large segments (offload on) and once as frames of 1514 bytes.
// Sender, receiver, capture and analysis share the machine. Lost = counted by the interface, not seen by the capture;
// so it also finds what an engine does not count. The ladder of rates ends at the first loss. With --soak one live
// capture runs at one rate, and its memory and CPU time are printed every ten seconds.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    seconds: { type: 'string', default: '4' },
    rates: { type: 'string', default: '0.5,1,2,3,4,6,8' },
    engines: { type: 'string', default: 'tcpdump -w,tcpdump,dumpcap,cap' },
    soak: { type: 'string' },
    'soak-rate': { type: 'string', default: '0.5' },
    'soak-engine': { type: 'string', default: 'tcpdump' },
  },
});
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

/** Sends at `rate` Gbit/s; the rate reached. */
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

/** One rate with one engine. */
async function measure(engine, rate, seconds) {
  const running = await startEngine(engine);
  const before = framesCounted();
  const reached = await send(rate, seconds);
  await sleep(1500);
  const counted = framesCounted() - before;
  const { cpuSeconds } = usage(running.child.pid);
  const seen = await running.stop();
  return { reached, counted, lost: Math.max(0, counted - seen), framesPerSecond: counted / seconds, cpuSeconds };
}

async function ladder() {
  const seconds = Number(options.seconds);
  console.log(`${cpus().length} cores, ${cpus()[0].model}, Node ${process.version}; ${seconds} s a rate`);
  for (const shape of ['offload on', '1514-byte frames']) {
    const state = shape === 'offload on' ? 'on' : 'off';
    for (const [name, device] of [
      [NAMES.a, 'va'],
      [NAMES.b, 'vb'],
    ]) {
      spawnSync('ip', ['netns', 'exec', name, 'ethtool', '-K', device, 'tso', state, 'gso', state, 'gro', state]);
    }
    for (const engine of options.engines.split(',')) {
      for (const rate of options.rates.split(',').map(Number)) {
        const { reached, counted, lost, framesPerSecond, cpuSeconds } = await measure(engine, rate, seconds);
        console.log(
          [
            shape.padEnd(17),
            engine.padEnd(11),
            `${reached.toFixed(2)} Gbit/s`.padStart(12),
            `${Math.round(framesPerSecond)} frames/s`.padStart(18),
            `lost ${lost} (${((100 * lost) / counted).toFixed(2)} %)`.padEnd(22),
            `CPU ${cpuSeconds.toFixed(1)} s`,
          ].join('  '),
        );
        // The last frames of a run may still lie in the ring when the engine is told to end: a few are no loss.
        if (lost > counted / 1000 || reached < rate * 0.8) break; // or as fast as the sender gets
      }
    }
  }
}

async function soak() {
  const running = await startEngine(options['soak-engine']);
  const seconds = Number(options.soak);
  const before = framesCounted();
  const start = performance.now();
  const sending = send(Number(options['soak-rate']), seconds);
  let last = usage(running.child.pid).cpuSeconds;
  for (let at = 10; at <= seconds; at += 10) {
    await sleep(Math.max(0, at * 1000 - (performance.now() - start)));
    const { cpuSeconds, residentMb } = usage(running.child.pid);
    console.log(
      `${String(at).padStart(4)} s  CPU ${((cpuSeconds - last) * 10).toFixed(0)} %  resident ${residentMb.toFixed(0)} MB`,
    );
    last = cpuSeconds;
  }
  const reached = await sending;
  await sleep(1500);
  const counted = framesCounted() - before;
  console.log(`${reached.toFixed(2)} Gbit/s, ${counted} frames, lost ${counted - (await running.stop())}`);
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
  await (options.soak === undefined ? ladder() : soak());
  sink.kill();
} finally {
  for (const name of Object.values(NAMES)) spawnSync('ip', ['netns', 'del', name]);
  rmSync(folder, { recursive: true });
}
