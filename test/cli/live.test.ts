// The built command on real interfaces: two namespaces, real QEMU, real capture programs, and everything that can go wrong.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ENGINE_NAMES, ENGINES, type EngineName } from '../../src/capture/live/engines.js';
import { CAP_QUEUE_BYTES, CAPTURE_RING_BYTES } from '../../src/limits.js';
import type { ReportData } from '../../src/report/report.js';
import { CLI, describeRoot, haveProgram, migscope, type Running, TwoHosts } from '../support/namespaces.js';
import { recordMigration } from '../support/record.js';

const capBuild = fileURLToPath(new URL('../../node_modules/cap/build/Release/cap.node', import.meta.url));
const haveEngine = { tcpdump: haveProgram('tcpdump'), dumpcap: haveProgram('dumpcap'), cap: existsSync(capBuild) };
const engines = ENGINE_NAMES.filter((name) => haveEngine[name]);
for (const name of ENGINE_NAMES) if (!haveEngine[name]) console.warn(`SKIPPED: live capture by ${name} (not there).`);

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'live-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const readReport = (path: string): ReportData => JSON.parse(readFileSync(path, 'utf8')) as ReportData;

/** What must not depend on who captured: the decoded migration, without the time stamps. */
const decoded = (report: ReportData) =>
  report.migrations.map(({ outcome, pages, rounds, ramBlocks, stream, devices }) => ({
    outcome,
    pages,
    ramBlocks,
    decodedBytes: stream.decodedBytes,
    devices: devices.map(({ name, bytes }) => ({ name, bytes })),
    rounds: rounds.map(({ index, pages: sent, bytes, boundary }) => ({ index, pages: sent, bytes, boundary })),
  }));

/** Frames in a capture file, by our own reader. */
async function framesIn(...paths: string[]): Promise<number> {
  const result = join(folder, 'frames.json');
  const { code, stderr } = await migscope('analyze', ...paths, '--json', result, '--force', '--quiet');
  expect([code, stderr]).toEqual([0, '']);
  return readReport(result).capture.frames;
}

/** Until a frame has left the kernel's ring and the recording has been flushed. */
const handOnMs = (name: EngineName): number => ENGINES.find((engine) => engine.name === name)!.latencyMs + 300;

const ready = /capturing on \S+ with/;
const childOf = (running: Running): number =>
  Number(readFileSync(`/proc/${running.process.pid}/task/${running.process.pid}/children`, 'utf8').trim());

/** The most memory a process has had. */
const peakBytes = (pid: number): number =>
  1024 * Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]);

describeRoot('a real migration', () => {
  const tools = ['qemu-system-x86_64', 'nasm'].filter((name) => !haveProgram(name));
  if (tools.length > 0) console.warn(`SKIPPED: a real migration live (no ${tools.join(', ')}).`);

  test.skipIf(tools.length > 0)(
    'gives each engine what analyze reads from a tcpdump file of the same run',
    async () => {
      const name = (engine: string, end: string): string => join(folder, engine + end);
      const written = (engine: string): string => name(engine, engine === 'dumpcap' ? '.pcap.gz' : '.pcap');
      const recording = await recordMigration(folder, (host) =>
        engines.map((engine) =>
          host.migscope(
            ...['live', '-i', 'eth0', '--engine', engine, '--until-done', '--interval', '200ms'],
            ...['--json', name(engine, '.json'), '--write', written(engine)],
          ),
        ),
      );
      const { code } = await migscope('analyze', recording.capture, '--json', name('file', '.json'), '--quiet');
      expect(code).toBe(0);
      const truth = decoded(readReport(name('file', '.json')));
      expect(truth).toHaveLength(1);
      expect(truth[0]).toMatchObject({ outcome: 'completed', pages: { normal: recording.ram.normal } });
      for (const [at, engine] of engines.entries()) {
        const { code: ended, stdout, stderr } = recording.live[at]!;
        expect([engine, ended, stderr.split('\n').length]).toEqual([engine, 0, 2]);
        expect([engine, ...decoded(readReport(name(engine, '.json')))]).toEqual([engine, ...truth]);
        expect(stdout).toMatch(
          /^\d:\d\d:\d\d \| lost (0|unknown), seen [\d,]+ frames \| .*round 1 at [\d.]+ % \| sent [\d,]+ pages \| left [\d,]+ \|/m,
        );
        expect(stdout).toMatch(/^COMPLETED {2}/m);
        await migscope('analyze', written(engine), '--json', name(engine, '.again.json'), '--quiet');
        const [live, again] = [name(engine, '.json'), name(engine, '.again.json')].map(readReport);
        expect([engine, again!.migrations]).toEqual([engine, live!.migrations]);
        expect(again!.connections).toEqual(live!.connections);
      }
    },
  );

  test.skipIf(tools.length > 0)(
    'to which the capture narrows stays whole, and all else is left out',
    async () => {
      const name = (engine: string, end: string): string => join(folder, engine + end);
      const others: Running[] = [];
      const recording = await recordMigration(
        folder,
        (host) => {
          others.push(host.start(process.execPath, '-e', DATAGRAMS));
          return engines.map((engine) =>
            host.migscope(
              ...['live', '-i', 'eth0', '--engine', engine, '--until-done', '--narrow', '--interval', '200ms'],
              ...['--json', name(engine, '.json'), '--write', name(engine, '.pcap')],
            ),
          );
        },
        ['--rate', '50', '--filled', '40', '--dirty-rate', '500'], // it lasts until the second capture runs, on a busy machine too
      );
      for (const other of others) other.process.kill();
      await migscope('analyze', recording.capture, '--json', name('file', '.json'), '--quiet');
      const file = readReport(name('file', '.json'));
      const [truth] = decoded(file);
      expect(truth).toMatchObject({ outcome: 'completed', pages: { normal: recording.ram.normal } });
      for (const [at, engine] of engines.entries()) {
        const { code, stdout } = recording.live[at]!;
        expect([engine, code]).toEqual([engine, 0]);
        expect(stdout).toMatch(/ \| only the migration since 0:00:\d\d \| /);
        const live = readReport(name(engine, '.json'));
        expect([engine, ...decoded(live)]).toEqual([engine, truth]);
        expect(live.anomalies.filter(({ severity }) => severity !== 'note')).toEqual([]);
        const narrowed = live.anomalies.find((anomaly) => anomaly.code === 'capture/narrowed');
        expect(narrowed).toMatchObject({ count: 1, first: { detail: expect.stringContaining('host 10.20.30.1') } });
        // No frame of the migration is missing, and none is there twice.
        expect(migrationFrames(live)).toEqual(migrationFrames(file));
        // Of all the rest there is what came before. How much that is depends on how busy the machine is: from the
        // narrowing on there is nothing, though it went on for seconds.
        const [all, kept] = [file, live].map((report) => report.capture.frames - migrationFrames(report).frames);
        const firstOnly = narrowed!.first.frame!;
        const datagrams = datagramFrames(name(engine, '.pcap'));
        expect(datagrams.length).toBeGreaterThan(100);
        expect(datagrams.filter((frame) => frame >= firstOnly)).toEqual([]);
        expect(all! - kept!).toBeGreaterThan(100);
        expect(live.capture.inputs[0]!.frames).toBe(live.capture.frames);
        await migscope('analyze', name(engine, '.pcap'), '--json', name(engine, '.again.json'), '--quiet');
        const again = readReport(name(engine, '.again.json'));
        expect(again.capture.frames).toBe(live.capture.frames);
        expect([engine, again.migrations]).toEqual([engine, live.migrations]);
        expect(again.connections).toEqual(live.connections);
      }
    },
    180_000,
  );
  // A datagram a millisecond to a port where nobody listens, from one that is none of libvirt's.
  const DATAGRAMS = `const s = require('dgram').createSocket('udp4');
    s.on('error', () => {}); s.bind(40000);
    setInterval(() => { s.send('x'.repeat(900), 7, '10.20.30.2'); }, 1);`;
  /** The numbers of the frames that carry one, by tcpdump. */
  function datagramFrames(path: string): number[] {
    const { status, stdout } = spawnSync('tcpdump', ['-nr', path], { encoding: 'utf8', maxBuffer: 2 ** 28 });
    expect(status).toBe(0);
    return stdout.split('\n').flatMap((line, at) => (line.includes(' > 10.20.30.2.7: ') ? [at + 1] : []));
  }
  const migrationFrames = ({ connections }: ReportData) => ({
    frames: connections.flatMap(({ directions }) => directions).reduce((sum, { frames }) => sum + frames, 0),
    directions: connections.map(({ directions }) =>
      directions.map(({ frames, uniqueBytes, captureDuplicates }) => ({
        frames,
        uniqueBytes,
        captureDuplicates,
      })),
    ),
  });
});

describeRoot('live capture', () => {
  let hosts: TwoHosts;
  beforeAll(() => {
    hosts = new TwoHosts();
  });
  afterAll(() => hosts.remove());

  /** Starts a capture on host a and waits until it runs. */
  async function capture(...args: string[]): Promise<Running> {
    const running = hosts.migscope('live', '-i', 'va', '--interval', '100ms', ...args);
    await running.says(ready);
    return running;
  }

  /** Sends `megabytes` from a to b over TCP. */
  async function traffic(megabytes: number): Promise<void> {
    const sink = hosts.start('b', process.execPath, '-e', SINK);
    await sink.says(/listening/);
    const sender = hosts.start('a', process.execPath, '-e', SENDER, String(megabytes));
    expect((await sender.ended).code).toBe(0);
    sink.process.kill();
    await sink.ended;
  }
  const SINK = "net.createServer(s => s.resume()).listen(49152, '10.97.0.2', () => console.log('listening'))";
  const SENDER = `const s = net.connect(49152, '10.97.0.2'); const b = Buffer.alloc(1 << 20, 7);
    let n = Number(process.argv[1]);
    const go = () => { if (n-- > 0) s.write(b, go); else { s.end(); s.resume(); } }; s.once('connect', go);`;

  describe.each(engines)('by %s', (engine) => {
    test('ends in order at the first SIGINT, with the report', async () => {
      const json = join(folder, 'out.json');
      const running = await capture('--engine', engine, '--json', json);
      await traffic(3);
      running.process.kill('SIGINT');
      const { code, stdout } = await running.ended;
      expect(code).toBe(0);
      expect(stdout).toMatch(/^migscope .* va /m);
      const [connection] = readReport(json).connections;
      expect(connection?.directions[0].uniqueBytes).toBe(3 << 20);
      expect(connection?.directions[0].unseenBytes).toBe(0);
    });

    test('that is killed leaves a message, the report and a readable recording', async () => {
      const pcap = join(folder, 'killed.pcap');
      const json = join(folder, 'killed.json');
      const running = await capture('--engine', engine, '--write', pcap, '--json', json);
      await traffic(2);
      await sleep(handOnMs(engine));
      process.kill(childOf(running), 'SIGKILL');
      const { code, stderr } = await running.ended;
      expect([code, stderr]).toEqual([1, expect.stringContaining(`${engine} ended without being asked (SIGKILL)`)]);
      const seen = readReport(json);
      expect(seen.connections[0]?.directions[0].uniqueBytes).toBe(2 << 20);
      expect(await framesIn(pcap)).toBe(seen.capture.frames);
    });

    test('ends with us when we are killed, on a link where nothing would wake it', async () => {
      const running = await capture('--engine', engine, '--filter', 'udp port 9');
      const others = hosts.processes('a').filter((id) => Number(id) !== running.process.pid);
      expect(others).toContain(String(childOf(running)));
      running.process.kill('SIGKILL');
      await expect.poll(() => hosts.processes('a'), { timeout: 2000 }).toEqual([]);
    });

    test('whose interface goes away says so, with the report and a readable recording', async () => {
      hosts.addLink('vx');
      const pcap = join(folder, 'gone.pcap');
      const json = join(folder, 'gone.json');
      const running = hosts.migscope(
        ...['live', '-i', 'vx', '--engine', engine, '--interval', '100ms', '--write', pcap, '--json', json],
      );
      await running.says(ready);
      hosts.start('a', 'ping', '-c20', '-i0.1', '-w2', '-I', 'vx', '10.1.1.1');
      await running.says(/seen [1-9]/); // the first may pass before the engine is at work
      await sleep(handOnMs(engine));
      hosts.removeLink('vx');
      const { code, stderr } = await running.ended;
      expect([code, stderr]).toEqual([1, expect.stringContaining('Interface vx is gone; the capture ended there.')]);
      const { frames } = readReport(json).capture;
      expect(frames).toBeGreaterThan(0);
      expect(await framesIn(pcap)).toBe(frames);
    });

    test('whose interface goes down says so, and does not lose what came before', async () => {
      hosts.addLink('vx');
      const json = join(folder, 'down.json');
      const running = hosts.migscope('live', '-i', 'vx', '--engine', engine, '--interval', '100ms', '--json', json);
      await running.says(ready);
      hosts.start('a', 'ping', '-c20', '-i0.1', '-w2', '-I', 'vx', '10.1.1.1');
      await running.says(/seen [1-9]/);
      hosts.setLink('vx', 'down');
      await running.says(/interface vx is down: sudo ip link set vx up|Interface vx went down/i);
      running.process.kill('SIGINT'); // cap has ended already, the others wait for the link to come back
      await running.ended;
      hosts.removeLink('vx');
      expect(readReport(json).capture.frames).toBeGreaterThan(0);
    });

    test('is told of a bad filter and an unknown interface', async () => {
      const filter = await hosts.migscope('live', '-i', 'va', '--engine', engine, '--filter', 'tcp prot 3').ended;
      expect([filter.code, filter.stderr]).toEqual([
        2,
        expect.stringMatching(/filter "tcp prot 3" is not valid: syntax error/),
      ]);
      const device = await hosts.migscope('live', '-i', 'nope', '--engine', engine).ended;
      expect([device.code, device.stderr]).toEqual([
        2,
        expect.stringMatching(/no interface nope .*\n {2}There is lo, va;/),
      ]);
    });

    test('without the privilege names the command that gives it', async () => {
      const { code, stderr } = await hosts.start(
        ...(['a', 'setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath] as const),
        ...[CLI, 'live', '-i', 'va', '--engine', engine],
      ).ended;
      expect([code, stderr]).toEqual([1, expect.stringMatching(/may not|may capture|sudo (setcap|usermod)/)]);
    });

    test('cuts frames to --snaplen and counts their whole length', async () => {
      const json = join(folder, 'cut.json');
      const running = await capture('--engine', engine, '--snaplen', '100', '--json', json);
      await traffic(1);
      running.process.kill('SIGTERM');
      expect((await running.ended).code).toBe(0);
      const { capture: facts, connections } = readReport(json);
      expect(facts.inputs[0]!.cutFrames).toBeGreaterThan(10);
      expect(facts.inputs[0]!.capturedBytes).toBeLessThanOrEqual(facts.frames * 100);
      expect(connections[0]?.directions[0].uniqueBytes).toBe(1 << 20);
    });
  });

  // 400 MiB against CAPTURE_RING_BYTES in the kernel, and CAP_QUEUE_BYTES in the host of cap, 128 MiB each.
  test.each(engines.filter((engine) => engine !== 'dumpcap'))(
    'frames that nobody fetches in time from %s are counted as lost, and shown first',
    async (engine) => {
      const json = join(folder, 'lost.json');
      const running = await capture('--json', json, '--engine', engine);
      const child = childOf(running);
      const before = peakBytes(child);
      running.process.kill('SIGSTOP'); // we are too slow: the pipe fills, then whatever is in front of it
      await traffic(400);
      await sleep(handOnMs(engine));
      expect(peakBytes(child) - before).toBeLessThan(CAPTURE_RING_BYTES + CAP_QUEUE_BYTES + (64 << 20));
      running.process.kill('SIGCONT');
      await running.says(/\| lost [1-9][\d,]*, /);
      running.process.kill('SIGINT');
      const { code } = await running.ended;
      expect(code).toBe(0);
      const report = readReport(json);
      const lost = report.capture.inputs[0]!.droppedByCapture!;
      expect(lost).toBeGreaterThan(0);
      expect(report.anomalies.find((anomaly) => anomaly.code === 'capture/dropped')?.count).toBe(lost);
      const [kept] = report.capture.inputs;
      expect(kept!.capturedBytes).toBeGreaterThan(CAPTURE_RING_BYTES / 4); // in a ring of blocks, partly filled
    },
  );

  test('a reader that goes away takes the engine along', async () => {
    const running = hosts.start(
      ...(['a', 'sh', '-c', '"$@" | head -n 1; wait', 'sh', process.execPath, CLI] as const),
      ...['live', '-i', 'va', '--interval', '100ms', '--filter', 'udp port 9'], // no frame ever wakes the engine
    );
    await running.says(ready);
    expect((await running.ended).code).toBe(0); // as soon as head has its line
    await expect.poll(() => hosts.processes('a'), { timeout: 2000 }).toEqual([]);
  });

  test('a second signal ends at once', async () => {
    const running = await capture();
    process.kill(childOf(running), 'SIGSTOP'); // an engine that cannot end in order
    running.process.kill('SIGINT');
    await sleep(300);
    running.process.kill('SIGINT');
    expect((await running.ended).code).toBe(130);
  });

  test.each(['own.pcap', 'own.pcap.gz'])('killed itself it leaves %s readable, and no child', async (name) => {
    const pcap = join(folder, name);
    const running = await capture('--write', pcap);
    await traffic(4);
    await sleep(handOnMs('tcpdump'));
    const child = childOf(running);
    running.process.kill('SIGKILL');
    await running.ended;
    expect(await framesIn(pcap)).toBeGreaterThan(60); // 4 MiB in frames of at most 64 KiB
    await expect.poll(() => existsSync(`/proc/${child}`), { timeout: 5000 }).toBe(false);
  });

  test('--duration ends it, --rotate numbers the files, and together they are the capture', async () => {
    const json = join(folder, 'ring.json');
    const running = await capture(
      '--duration',
      '2500ms',
      '--json',
      json,
      '--write',
      join(folder, 'ring.pcap'),
      '--rotate',
      '1MB',
    );
    await traffic(5);
    expect((await running.ended).code).toBe(0);
    const files = readdirSync(folder).filter((file) => file.startsWith('ring-'));
    expect(files.length).toBeGreaterThanOrEqual(5);
    expect(await framesIn(...files.map((file) => join(folder, file)))).toBe(readReport(json).capture.frames);
  });

  test('a full disk stops the recording at a whole record, not the analysis', async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    const json = join(folder, 'full.json');
    // `ip netns exec` gives a command mounts of its own: this disk is the capture's alone and goes with it.
    const script = `mount -t tmpfs -o size=2m tmpfs ${disk} && "$@"; code=$?; cp ${disk}/full.pcap ${folder}; exit $code`;
    const running = hosts.start(
      ...(['a', 'sh', '-c', script, 'sh', process.execPath, CLI] as const),
      ...[
        'live',
        '-i',
        'va',
        '--interval',
        '100ms',
        '--duration',
        '3s',
        '--json',
        json,
        '--write',
        `${disk}/full.pcap`,
      ],
    );
    await running.says(ready);
    await traffic(5);
    const { code, stderr } = await running.ended;
    expect([code, stderr]).toEqual([1, expect.stringMatching(/full\.pcap could not be written any further: ENOSPC/)]);
    expect(readReport(json).connections[0]?.directions[0].uniqueBytes).toBe(5 << 20);
    const kept = await framesIn(join(folder, 'full.pcap'));
    expect(kept).toBeGreaterThan(10);
    expect(kept).toBeLessThan(readReport(json).capture.frames);
    expect(stderr).toContain(`It holds the first ${kept} frames.`);
  });

  test('an output that exists is refused before anything is captured', async () => {
    const pcap = join(folder, 'there.pcap');
    writeFileSync(pcap, 'kept');
    const { code, stderr } = await hosts.migscope('live', '-i', 'va', '--write', pcap).ended;
    expect([code, stderr]).toEqual([2, expect.stringMatching(/exists already/)]);
    expect(readFileSync(pcap, 'utf8')).toBe('kept');
  });

  test('an engine that is not installed is named with its package', async () => {
    const empty = join(folder, 'bin');
    mkdirSync(empty);
    chmodSync(empty, 0o755);
    const { code, stderr } = await hosts.start(
      ...(['a', 'env', `PATH=${empty}`, process.execPath] as const),
      ...[CLI, 'live', '-i', 'va', '--engine', 'dumpcap'],
    ).ended;
    expect([code, stderr]).toEqual([
      1,
      expect.stringMatching(/dumpcap is not installed\.\n.*apt-get install wireshark-common/),
    ]);
  });

  test('interfaces lists them with state and addresses, and what can capture', async () => {
    const { code, stdout } = await hosts.migscope('interfaces').ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^va +up .* 1500 .* 10\.97\.0\.1\/24/m);
    expect(stdout).toMatch(/^tcpdump +\S*\/tcpdump: kernel time stamps/m);
  });
});
