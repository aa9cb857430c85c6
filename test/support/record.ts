// A real migration by samples/record.mjs, with live captures running in the source's namespace from before its start.
//
// The recorder is given a QEMU that waits: it announces itself, starts only when told to, and keeps the namespaces until
// the live captures have ended.
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLI, type Output, Running } from './namespaces.js';

const RECORDER = fileURLToPath(new URL('../../samples/record.mjs', import.meta.url));

export interface RecordedMigration {
  /** The recorder's own capture, by tcpdump. */
  readonly capture: string;
  /** QEMU's counters at the end (query-migrate, ram). */
  readonly ram: { readonly normal: number; readonly duplicate: number };
  readonly live: readonly Output[];
}

/** The source's namespace, where the device is eth0 and the other host 10.20.30.2. */
interface SourceHost {
  migscope(...args: string[]): Running;
  start(command: string, ...args: string[]): Running;
}

/**
 * @param start     starts the live captures
 * @param settings  of the recorder, beyond or instead of 64 MiB of memory, 16 of them not zero, and a link of 200 Mbit/s
 */
export async function recordMigration(
  folder: string,
  start: (host: SourceHost) => Running[],
  settings: readonly string[] = [],
): Promise<RecordedMigration> {
  const mark = (name: string): string => join(folder, name);
  const qemu = mark('qemu.sh');
  writeFileSync(
    qemu,
    `#!/bin/sh
touch ${mark('waiting')}
while [ ! -e ${mark('go')} ]; do sleep 0.05; done
exec 5<&0
qemu-system-x86_64 "$@" <&5 5<&- & qemu=$!
trap 'kill $qemu' TERM
wait $qemu; wait $qemu
while [ ! -e ${mark('done')} ]; do sleep 0.05; done
`,
  );
  chmodSync(qemu, 0o755);
  const options = ['--rate', '200', '--mem', '64', '--filled', '16', ...settings, '--out', folder, '--qemu', qemu];
  const recorder = new Running(process.execPath, [RECORDER, 'run', ...options]);
  const recorded = recorder.ended;
  await Promise.race([appears(mark('waiting')), recorded.then(fail)]);
  const namespace = `record-src-${recorder.process.pid}`;
  const inside = (...command: string[]): Running => new Running('ip', ['netns', 'exec', namespace, ...command]);
  const captures = start({
    migscope: (...args) => inside(process.execPath, CLI, ...args),
    start: inside,
  });
  for (const capture of captures) await capture.says(/capturing on eth0 with/);
  writeFileSync(mark('go'), '');
  const live = await Promise.race([Promise.all(captures.map((capture) => capture.ended)), recorded.then(fail)]);
  writeFileSync(mark('done'), '');
  const { code, stderr } = await recorded;
  if (code !== 0) throw new Error(`the recorder failed: ${stderr}`);
  const truth = JSON.parse(readFileSync(mark('run.truth.json'), 'utf8')) as {
    final: { ram: RecordedMigration['ram'] };
  };
  return { capture: mark('run.pcap.gz'), ram: truth.final.ram, live };
}

async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
}

function fail({ stderr, stdout }: Output): never {
  throw new Error(`the recorder ended early: ${stdout}${stderr}`);
}
