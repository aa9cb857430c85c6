// Two network namespaces joined by a veth pair, and the built command run inside one of them. Needs root, Linux, ip(8).
//
// Tests that want them skip where they cannot be made, and say so; in CI that is an error.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe } from 'vitest';

/** The built command. */
export const CLI = fileURLToPath(new URL('../../dist/cli.js', import.meta.url));

function runs(command: string, ...args: string[]): boolean {
  const { error, status } = spawnSync(command, args, { stdio: 'ignore' });
  return error === undefined && status === 0;
}

const missing = [
  ...(process.getuid?.() === 0 ? [] : ['root']),
  ...(runs('ip', '-V') ? [] : ['ip']),
  ...(runs('tcpdump', '--version') ? [] : ['tcpdump']),
  ...(runs('unshare', '--net', '--mount', 'true') ? [] : ['the right to make network namespaces']),
  ...(existsSync(CLI) ? [] : ['dist/ (npm run build)']),
];

function skipping(what: string): typeof describe {
  if (process.env['CI']) throw new Error(`CI must run the live capture tests, but there is no ${what}.`);
  console.warn(`SKIPPED: live capture tests that need ${what}.`);
  return describe.skip as typeof describe;
}

/** describe() that skips, loudly, where no namespaces can be made. */
export const describeRoot: typeof describe = missing.length === 0 ? describe : skipping(missing.join(', '));

/** True where a program can be started. */
export const haveProgram = (name: string): boolean => runs('sh', '-c', `command -v ${name}`);

export interface Output {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs; its output so far can be waited for. */
export class Running {
  readonly process: ChildProcess;
  readonly ended: Promise<Output>;
  stdout = '';
  stderr = '';

  constructor(command: string, args: readonly string[], env: Record<string, string> = {}) {
    this.process = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    this.process.stdout!.on('data', (text: Buffer) => {
      this.stdout += text.toString();
    });
    this.process.stderr!.on('data', (text: Buffer) => {
      this.stderr += text.toString();
    });
    this.ended = new Promise((resolve) => {
      this.process.once('close', (code, signal) => {
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Waits until `pattern` has been printed on either stream. Throws when the command ends without it. */
  async says(pattern: RegExp): Promise<void> {
    let over = false;
    void this.ended.then(() => {
      over = true;
    });
    while (!pattern.test(this.stdout + this.stderr)) {
      if (over) throw new Error(`ended without ${pattern}: ${this.stdout}${this.stderr}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Two hosts, `a` at 10.97.0.1 on device `va` and `b` at 10.97.0.2 on `vb`. */
export class TwoHosts {
  readonly a = `migscope-a-${process.pid}`;
  readonly b = `migscope-b-${process.pid}`;

  constructor() {
    for (const host of [this.a, this.b]) this.#ip('netns', 'add', host);
    this.#ip('link', 'add', 'va', 'netns', this.a, 'type', 'veth', 'peer', 'name', 'vb', 'netns', this.b);
    for (const [host, device, address] of [
      [this.a, 'va', '10.97.0.1/24'],
      [this.b, 'vb', '10.97.0.2/24'],
    ] as const) {
      this.#ip('-n', host, 'link', 'set', 'lo', 'up');
      this.#ip('-n', host, 'addr', 'add', address, 'dev', device);
      this.#ip('-n', host, 'link', 'set', device, 'up');
    }
  }

  /** Starts a command inside host `a` or `b`. */
  start(host: 'a' | 'b', command: string, ...args: string[]): Running {
    return new Running('ip', ['netns', 'exec', this[host], command, ...args]);
  }

  /** Starts `migscope ...args` inside host `a`. */
  migscope(...args: string[]): Running {
    return this.start('a', process.execPath, CLI, ...args);
  }

  /** Ids of the processes inside a host. */
  processes(host: 'a' | 'b'): string[] {
    return this.#ip('netns', 'pids', this[host]).split('\n').filter(Boolean);
  }

  /** Adds a second link to host `a`, both ends there, up; for tests that take it away. */
  addLink(name: string): void {
    this.#ip('-n', this.a, 'link', 'add', name, 'type', 'veth', 'peer', 'name', `${name}-peer`);
    for (const device of [name, `${name}-peer`]) this.#ip('-n', this.a, 'link', 'set', device, 'up');
  }

  removeLink(name: string): void {
    this.#ip('-n', this.a, 'link', 'del', name);
  }

  setLink(name: string, state: 'up' | 'down'): void {
    this.#ip('-n', this.a, 'link', 'set', name, state);
  }

  remove(): void {
    for (const host of [this.a, this.b]) spawnSync('ip', ['netns', 'del', host]);
  }

  #ip(...args: string[]): string {
    const { status, stdout, stderr } = spawnSync('ip', args, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${args.join(' ')}: ${stderr}`);
    return stdout;
  }
}

/** Runs `migscope ...args` here, to its end. */
export const migscope = (...args: string[]): Promise<Output> => new Running(process.execPath, [CLI, ...args]).ended;
