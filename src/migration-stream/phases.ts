// Phases: what a migration is doing, one thing after the other.
import { WIDE_ZERO } from '../wide-zero.js';
import type { Phase, PhaseKind } from './results.js';

interface OpenPhase {
  readonly kind: PhaseKind;
  readonly startNs: number;
  startOffset: number;
  /** Bytes of the other channels while it lasts. */
  otherBytes: number;
}

export class Phases {
  readonly finished: Phase[] = [];
  #open: OpenPhase | null;

  /** @param startNs  when the first, the setup, begins */
  constructor(startNs: number) {
    this.#open = { kind: 'setup', startNs, startOffset: WIDE_ZERO, otherBytes: WIDE_ZERO };
  }

  /** null between two that are known, and at the end. */
  get current(): PhaseKind | null {
    return this.#open?.kind ?? null;
  }

  /** The main channel's stream is known from `offset` on. */
  streamStart(offset: number): void {
    if (this.#open) this.#open.startOffset = offset;
  }

  /** So many bytes came on the other channels; less than none where some turned out not to have come. */
  beside(bytes: number): void {
    if (this.#open) this.#open.otherBytes = Math.max(0, this.#open.otherBytes + bytes);
  }

  /** The next one begins at byte `offset` of the main channel, if it is not the same; never before the last one ended. */
  enter(kind: PhaseKind, tNs: number, offset: number): void {
    if (this.#open?.kind === kind) return;
    this.leave(tNs, offset);
    const startNs = Math.max(tNs, this.finished.at(-1)?.endNs ?? tNs);
    this.#open = { kind, startNs, startOffset: offset, otherBytes: WIDE_ZERO };
  }

  leave(tNs: number, offset: number): void {
    if (!this.#open) return;
    const { kind, startNs, startOffset, otherBytes } = this.#open;
    const bytes = Math.max(0, offset - startOffset) + otherBytes;
    this.finished.push({ kind, startNs, endNs: Math.max(startNs, tNs), bytes });
    this.#open = null;
  }
}
