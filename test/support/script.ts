// A conversation written out frame by frame, for situations that no simulated path produces.
import { type FramesOptions, framesOf, type Packet } from './conversation.js';
import type { CapturedFrame } from './frames.js';

type Words = Partial<Packet> & { readonly afterMs?: number };

/** Collects frames; each call adds one, 1 ms after the one before unless told otherwise. Numbers are relative. */
export class Script {
  readonly packets: Packet[] = [];
  #tNs = 0;
  #ids: [number, number] = [100, 9000];

  /** From the client (the side that sends the data unless the script says otherwise). */
  client(words: Words = {}): this {
    return this.#say(true, words);
  }

  server(words: Words = {}): this {
    return this.#say(false, words);
  }

  /** SYN, SYN-ACK, ACK, seen at the client. */
  open(): this {
    this.client({ flags: 'S', seq: -1, window: 65_535 });
    this.server({ flags: 'SA', seq: -1, ack: 0, window: 65_535 });
    return this.client({ afterMs: 0.01 });
  }

  frames(options: FramesOptions = {}): CapturedFrame[] {
    return framesOf(this.packets, options);
  }

  #say(fromSender: boolean, { afterMs = 1, ...words }: Words): this {
    this.#tNs += afterMs * 1e6;
    const side = fromSender ? 0 : 1;
    const tick = Math.floor(this.#tNs / 1e6);
    this.packets.push({
      tNs: this.#tNs,
      fromSender,
      seq: 0,
      ack: 0,
      flags: 'A',
      window: 512,
      length: 0,
      tsValue: 1000 + tick + (fromSender ? 0 : 50_000),
      tsEcho: 0,
      blocks: [],
      ipId: this.#ids[side]!++,
      truth: 'new',
      ...words,
    });
    return this;
  }
}
