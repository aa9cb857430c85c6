// The heap of the program: small, and no larger for a longer capture.
import { setFlagsFromString } from 'node:v8';

/**
 * Keeps what V8 sets aside for young objects at its first size, a megabyte, and has it collect old ones before they have
 * doubled. Left alone, both grow with the time a process runs, by 10 to 100 MB, and that is no faster: hardly anything is
 * allocated per frame, and of what connections keep, half is let go again.
 *
 * Every thread that starts puts the first of the two back for the whole process (V8, Heap::ConfigureHeap): say it there again.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--heap-growing-percent=10');
}
