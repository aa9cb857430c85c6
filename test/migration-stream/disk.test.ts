import { expect, test } from 'vitest';
import { DiskSink } from '../../src/migration-stream/sinks.js';

const S = 1e9;

test('what a mirror writes behind its front is written again', () => {
  const disk = new DiskSink(1, 0);
  disk.diskRequest(1 * S, 'write', 0, 1000);
  disk.diskRequest(2 * S, 'zero', 1000, 500);
  disk.diskRequest(3 * S, 'write', 1500, 500); // the end of the first pass
  disk.diskRequest(4 * S, 'write', 200, 300);
  disk.diskRequest(5 * S, 'read', 0, 4000);
  expect(disk.finish()).toMatchObject({
    writtenBytes: 1800,
    zeroedBytes: 500,
    rewrittenBytes: 300,
    sweptNs: 3 * S,
    endNs: 5 * S,
  });
});

test('a request across the front counts on both sides of it', () => {
  const disk = new DiskSink(1, 0);
  disk.diskRequest(1 * S, 'write', 0, 1000);
  disk.diskRequest(2 * S, 'write', 600, 1000);
  expect(disk.finish()).toMatchObject({ rewrittenBytes: 400, sweptNs: 2 * S });
});
