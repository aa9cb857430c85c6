// A headless Chromium for tests of the page, driven over its debugging pipe. Tests that want it skip, loudly, where no
// browser is installed (CHROMIUM names one).
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { describe } from 'vitest';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** Path of a browser, or null. */
const browserPath: string | null = (() => {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  const candidates = [process.env['CHROMIUM'], ...NAMES.flatMap((name) => folders.map((folder) => join(folder, name)))];
  for (const path of candidates) {
    if (!path) continue;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there: the next one.
    }
  }
  return null;
})();

/** describe() that skips where there is no browser. */
export const describeBrowser: typeof describe = (() => {
  if (browserPath !== null) return describe;
  console.warn('SKIPPED: tests in a real browser (no Chromium found; set CHROMIUM).');
  return describe.skip as typeof describe;
})();

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

/** One page in one browser. */
export class BrowserPage {
  /** What the page asked the network for, beside itself. */
  readonly requests: string[] = [];
  /** Console errors, uncaught exceptions and policy violations. */
  readonly errors: string[] = [];
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (message: Message) => void>();
  readonly #listeners: ((message: Message) => void)[] = [];
  #nextId = 1;
  #session = '';
  #buffered = '';

  private constructor() {
    this.#profile = mkdtempSync(join(tmpdir(), 'migscope-browser-'));
    this.#process = spawn(
      browserPath!,
      [
        '--headless=new',
        '--no-sandbox',
        '--disable-gpu',
        '--remote-debugging-pipe',
        `--user-data-dir=${this.#profile}`,
        'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    this.#process.stdio[4]!.on('data', (chunk: Buffer) => this.#receive(chunk.toString('utf8')));
  }

  /** Opens `path` (a file) in a window of the given width. */
  static async open(path: string, width = 1280, scheme: 'light' | 'dark' = 'light'): Promise<BrowserPage> {
    const page = new BrowserPage();
    const { targetInfos } = (await page.#send('Target.getTargets')) as {
      targetInfos: { type: string; targetId: string }[];
    };
    const target = targetInfos.find((info) => info.type === 'page')!;
    const attached = await page.#send('Target.attachToTarget', { targetId: target.targetId, flatten: true });
    page.#session = String(attached['sessionId']);
    page.#listeners.push((message) => page.#note(message));
    for (const domain of ['Page', 'Runtime', 'Network', 'Log']) await page.#send(`${domain}.enable`);
    await page.#send('Emulation.setDeviceMetricsOverride', { width, height: 900, deviceScaleFactor: 1, mobile: false });
    await page.#send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    const loaded = page.#event('Page.loadEventFired');
    await page.#send('Page.navigate', { url: `file://${path}` });
    await loaded;
    return page;
  }

  /** The value of an expression in the page; it must survive JSON. */
  async evaluate<T>(expression: string): Promise<T> {
    const answer = await this.#send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    const details = answer['exceptionDetails'] as { exception?: { description?: string }; text: string } | undefined;
    if (details) throw new Error(details.exception?.description ?? details.text);
    return (answer['result'] as { value: T }).value;
  }

  /** Waits until pending frames are drawn. */
  settle(): Promise<void> {
    return this.evaluate(
      'new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 60))))',
    );
  }

  /** Presses at one place of an element and releases at another; places are shares of its width. */
  async drag(selector: string, from: number, to: number): Promise<void> {
    const box = await this.evaluate<{ left: number; top: number; width: number; height: number }>(
      `(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({ block: 'center', behavior: 'instant' }); return e.getBoundingClientRect().toJSON(); })()`,
    );
    await this.settle();
    const y = box.top + box.height / 2;
    const mouse = (type: string, share: number, buttons: number): Promise<unknown> =>
      this.#send('Input.dispatchMouseEvent', {
        type,
        x: box.left + box.width * share,
        y,
        button: 'left',
        buttons,
        clickCount: 1,
      });
    await mouse('mouseMoved', from, 0);
    await mouse('mousePressed', from, 1);
    for (let step = 1; step <= 4; step++) await mouse('mouseMoved', from + ((to - from) * step) / 4, 1);
    await mouse('mouseReleased', to, 0);
    await this.settle();
  }

  /** Presses a key in the focused element, e.g. 'ArrowRight'. */
  async press(key: string): Promise<void> {
    const text = key.length === 1 ? { text: key } : {};
    await this.#send('Input.dispatchKeyEvent', { type: 'keyDown', key, ...text });
    await this.#send('Input.dispatchKeyEvent', { type: 'keyUp', key });
    await this.settle();
  }

  async close(): Promise<void> {
    const ended = new Promise((done) => this.#process.once('exit', done));
    await this.#send('Browser.close', {}, false).catch(() => undefined);
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5 });
  }

  #send(method: string, params: Record<string, unknown> = {}, inSession = true): Promise<Record<string, unknown>> {
    const id = this.#nextId++;
    const session = inSession && this.#session !== '' ? { sessionId: this.#session } : {};
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, (message) => {
        if (message.error) reject(new Error(`${method}: ${message.error.message}`));
        else resolve(message.result ?? {});
      });
      (this.#process.stdio[3] as NodeJS.WritableStream).write(
        `${JSON.stringify({ id, method, params, ...session })}\0`,
      );
    });
  }

  #event(method: string): Promise<void> {
    return new Promise((done) => {
      this.#listeners.push((message) => {
        if (message.method === method) done();
      });
    });
  }

  #receive(text: string): void {
    const parts = (this.#buffered + text).split('\0');
    this.#buffered = parts.pop()!;
    for (const part of parts) {
      const message = JSON.parse(part) as Message;
      if (message.id !== undefined) {
        this.#waiting.get(message.id)?.(message);
        this.#waiting.delete(message.id);
      } else {
        for (const listen of this.#listeners) listen(message);
      }
    }
  }

  #note({ method, params }: Message): void {
    if (method === 'Network.requestWillBeSent') {
      const { url } = (params as { request: { url: string } }).request;
      if (!url.startsWith('data:')) this.requests.push(url);
    } else if (method === 'Runtime.exceptionThrown') {
      this.errors.push(JSON.stringify((params as { exceptionDetails: unknown }).exceptionDetails).slice(0, 400));
    } else if (method === 'Log.entryAdded') {
      const { level, text } = (params as { entry: { level: string; text: string } }).entry;
      if (level === 'error') this.errors.push(text);
    } else if (method === 'Runtime.consoleAPICalled') {
      const { type, args } = params as { type: string; args: { value?: unknown }[] };
      if (type === 'error' || type === 'warning') this.errors.push(args.map((arg) => String(arg.value)).join(' '));
    }
  }
}
