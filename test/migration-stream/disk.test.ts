import { expect, test } from 'vitest';
import { DISK_RANGES } from '../../src/limits.js';
import { DiskSink } from '../../src/migration-stream/sinks.js';

const S = 1e9;

test('what a mirror writes where it has written before is written again', () => {
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

test('a request that is new in part counts on both sides', () => {
  const disk = new DiskSink(1, 0);
  disk.diskRequest(1 * S, 'write', 0, 1000);
  disk.diskRequest(2 * S, 'write', 600, 1000);
  expect(disk.finish()).toMatchObject({ rewrittenBytes: 400, sweptNs: 2 * S });
});

test('requests that overtake each other are still one pass', () => {
  const disk = new DiskSink(1, 0);
  disk.diskRequest(1 * S, 'write', 9000, 1000); // what the guest wrote first may be copied first
  for (const [at, offset] of [0, 2000, 1000, 4000, 3000, 6000, 5000, 7000, 8000].entries()) {
    disk.diskRequest((2 + at) * S, 'write', offset, 1000);
  }
  expect(disk.finish()).toMatchObject({ writtenBytes: 10_000, rewrittenBytes: 0, sweptNs: 10 * S });
});

test('data on a target that was zeroed first are the first copy', () => {
  const disk = new DiskSink(1, 0);
  disk.diskRequest(1 * S, 'zero', 0, 4000);
  disk.diskRequest(2 * S, 'write', 1000, 3000);
  disk.diskRequest(3 * S, 'zero', 1500, 100);
  expect(disk.finish()).toMatchObject({ zeroedBytes: 4100, rewrittenBytes: 100, sweptNs: 2 * S });
});

test('more separate places than are remembered run together', () => {
  const disk = new DiskSink(1, 0);
  for (let at = 0; at <= DISK_RANGES; at++) disk.diskRequest(at, 'write', 1000 * at, 1);
  expect(disk.finish().rewrittenBytes).toBe(0);
  disk.diskRequest(2 * S, 'write', 1000 * (DISK_RANGES - 1) + 500, 1); // between the last two, which became one
  expect(disk.finish().rewrittenBytes).toBe(1);
});

test('inside TLS, records of whole sectors are what was written, and those between them the requests', () => {
  const disk = new DiskSink(1, 0);
  for (const [at, length] of [53, 33, 49, 16_401, 16_401, 49, 4096 + 17, 49, 49].entries())
    disk.sealed(0, at * S, length);
  expect(disk.finish()).toMatchObject({
    encryption: 'tls',
    writtenBytes: 2 * 16_384 + 4096,
    requests: 2,
    rewrittenBytes: 0,
    endNs: 8 * S,
  });
  expect(new DiskSink(1, 0).finish()).not.toHaveProperty('encryption');
});
