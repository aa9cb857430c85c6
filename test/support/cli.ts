// Runs the command line as a function, with streams that remember.
import { PassThrough, Readable, Writable } from 'node:stream';
import type { CliIo } from '../../src/cli/io.js';
import { run } from '../../src/cli/program.js';

export interface CliRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliSetting {
  readonly stdin?: Uint8Array;
  /** Pretend that both output streams are terminals. */
  readonly terminal?: boolean;
  readonly columns?: number;
  readonly env?: Record<string, string>;
}

class Recorder extends Writable {
  text = '';
  readonly isTTY: boolean;
  readonly columns: number;

  constructor(setting: CliSetting) {
    super();
    this.isTTY = setting.terminal ?? false;
    this.columns = setting.columns ?? 80;
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString('utf8');
    done();
  }
}

/** Calls `migscope ...args` in this process. */
export async function cli(args: readonly string[], setting: CliSetting = {}): Promise<CliRun> {
  const stdout = new Recorder(setting);
  const stderr = new Recorder(setting);
  const io: CliIo = {
    stdin: setting.stdin ? Readable.from([Buffer.from(setting.stdin)], { objectMode: false }) : new PassThrough().end(),
    stdout,
    stderr,
    env: setting.env ?? {},
    exitCode: 0,
  };
  const code = await run(args, io);
  return { code, stdout: stdout.text, stderr: stderr.text };
}
