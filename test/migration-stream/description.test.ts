import { describe, expect, test } from 'vitest';
import { describedDevices } from '../../src/migration-stream/description.js';

const read = (value: unknown) => describedDevices(new TextEncoder().encode(JSON.stringify(value)));
const device = (more: object) => ({ devices: [{ name: 'cpu', instance_id: 2, ...more }] });

describe('sizes of device state', () => {
  test('fields times their array length, subsections with their own header', () => {
    const state = {
      fields: [
        { name: 'a', size: 8 },
        { name: 'b', size: 4, array_len: 16 },
      ],
      subsections: [{ vmsd_name: 'cpu/msr', fields: [{ name: 'c', size: 2 }] }],
    };
    expect(read({ page_size: 4096, ...device(state) })).toEqual({
      pageSize: 4096,
      devices: [{ name: 'cpu', instance: 2, bytes: 8 + 64 + (1 + 1 + 7 + 4 + 2) }],
    });
  });

  test('a device without state has none', () => {
    expect(read(device({}))).toEqual({ pageSize: null, devices: [{ name: 'cpu', instance: 2, bytes: 0 }] });
    // No target has such pages, and multifd headers have no room for so many.
    for (const size of [16, 5000, 1 << 17]) expect(read({ page_size: size, ...device({}) })!.pageSize).toBeNull();
  });
});

test('a device with an array of pointers that begins with NULL has no known length', () => {
  // As 7.2 describes s390_css, whose state is 1039 bytes long.
  const fields = [{ size: 8 }, { name: 'css', array_len: 256, type: 'struct', struct: {}, size: 1 }];
  expect(read(device({ fields }))).toEqual({ pageSize: null, devices: [] });
});

describe('what does not fit the form makes it unusable', () => {
  let deep: object = {};
  for (let i = 0; i < 100; i++) deep = { subsections: [{ vmsd_name: 'x', ...deep }] };
  test.each([
    ['no object', 5],
    ['no devices', { page_size: 1 }],
    ['a negative size', device({ fields: [{ size: -1 }] })],
    ['a fractional count', device({ fields: [{ size: 1, array_len: 0.5 }] })],
    ['sizes beyond any stream', device({ fields: [{ size: 2 ** 52, array_len: 2 ** 20 }] })],
    ['endless nesting', device(deep)],
    ['a name that is no text', { devices: [{ name: 7, instance_id: 0 }] }],
  ])('%s', (_name, value) => {
    expect(read(value)).toBeNull();
  });

  test('no JSON', () => {
    expect(describedDevices(new TextEncoder().encode('{"devices"'))).toBeNull();
  });
});
