import { describe, expect, test } from 'vitest';
import type { DiskCopy } from '../../src/migration-stream/results.js';
import { redact } from '../../src/report/redact.js';
import type { ReportData } from '../../src/report/report.js';
import { reportData } from '../support/report-data.js';

const DISK: DiskCopy = {
  connection: 0,
  name: '',
  startNs: 0,
  endNs: 1e9,
  requests: 1,
  writtenBytes: 4096,
  rewrittenBytes: 0,
  sweptNs: 1e9,
  zeroedBytes: 0,
  readBytes: 0,
};

function secretive(): ReportData {
  const report = reportData('lossy', { outcome: 'completed' });
  const [migration] = report.migrations;
  migration!.ramBlocks.push({ name: 'acme-customer-ram', lengthBytes: 4096 }, { name: 'm0', lengthBytes: 4096 });
  migration!.disks = [{ ...DISK, name: 'major' }];
  migration!.proxies = [
    { kind: 'socks5', from: null, to: 'kvm-acme:49152' },
    { kind: 'proxy-protocol', from: '[fe80::42]:40000', to: '10.77.0.2:49152' },
  ];
  migration!.devices.push({ ...migration!.devices[0]!, name: 'acme-disk/virtio-blk' });
  report.connections[0]!.encapsulation = ['vxlan:4711'];
  report.connections[0]!.opaque = { kind: 'ssh', banner: 'SSH-2.0-OpenSSH_9.2 acme build', holds: null };
  report.findings = [
    {
      ...reportData('lossy').findings[0]!,
      text: 'Loss between 10.77.0.1 and fe80::42 while sending acme-customer-ram at 12:30:45.',
      advice: [
        'Look at 52:54:00:12:34:56 (10.99.1.2).',
        '-incoming tcp:[::]:PORT binds every address; m0 + 16 MiB is hot.',
      ],
      metrics: { host: '10.77.0.2', share: 0.5 },
      severity: 'major',
    },
  ];
  report.anomalies.push({
    code: 'stream/bad-record',
    severity: 'warning',
    origin: 'stream',
    text: 'A record cannot be right.',
    direction: 0,
    count: 1,
    first: { frame: 7, detail: "page record for RAM block 'zenith-ram'" },
    last: { frame: 7, detail: "page record for RAM block 'zenith-ram'" },
    samples: [{ frame: 7, detail: "page record for RAM block 'zenith-ram'" }],
  });
  report.tables['signals'] = {
    rows: 3,
    columns: {
      kind: { unit: 'name', values: ['rarp', 'dns-failure', 'dns-failure'] },
      mac: { unit: 'address', values: ['52:54:00:12:34:56', '', ''] },
      name: { unit: 'name', values: ['', 'host7.acme.example', 'vmhost9'] },
    },
  };
  report.tables['tunnels'] = {
    rows: 2,
    columns: { encapsulation: { unit: 'name', values: ['vxlan:4711', 'geneve:4712 / gre'] } },
  };
  return report;
}

describe('redaction', () => {
  const original = secretive();
  const redacted = redact(original);
  const json = JSON.stringify(redacted);

  test.each([
    '10.77.0.1',
    '10.77.0.2',
    '10.99.1.2',
    'fe80::42',
    '52:54:00:12:34:56',
    'acme',
    'wan-cubic-loss',
    'vxlan:4711',
    'geneve:4712',
    'vmhost9',
    'zenith',
    'm0',
  ])('%s is nowhere in the result', (secret) => expect(json.includes(secret)).toBe(false));

  test('the same original has the same stand-in in fields and sentences', () => {
    const [connection] = redacted.connections;
    expect(redacted.migrations[0]!.source).toBe(connection!.client.address);
    expect(redacted.findings[0]!.text).toContain(`between ${connection!.client.address} and`);
    expect(redacted.findings[0]!.advice[0]).toContain(String(redacted.tables['signals']!.columns['mac']!.values[0]));
    expect(redacted.findings[0]!.metrics).toEqual({ host: connection!.server.address, share: 0.5 });
  });

  test('the ends that a proxy was told are hosts and ports', () => {
    const [connection] = redacted.connections;
    expect(redacted.migrations[0]!.proxies).toEqual([
      { kind: 'socks5', from: null, to: expect.stringMatching(/^host-\d:49152$/) },
      {
        kind: 'proxy-protocol',
        from: expect.stringMatching(/^host-\d:40000$/),
        to: `${connection!.server.address}:49152`,
      },
    ]);
    expect(connection!.opaque!.banner).toBe('SSH-2.0-OpenSSH_9.2');
  });

  test('what the diagnosis is about stays: ports, times, kinds, names compiled into QEMU', () => {
    expect(redacted.findings[0]!.text).toContain('12:30:45');
    expect(redacted.findings[0]!.advice[1]).toMatch(/tcp:\[::\]:PORT binds every address; memory-\d \+ 16 MiB/);
    expect(redacted.findings[0]!.severity).toBe('major');
    expect(redacted.connections[0]!.server.port).toBe(49_152);
    expect(redacted.tables['signals']!.columns['kind']!.values).toEqual(['rarp', 'dns-failure', 'dns-failure']);
    expect(redacted.migrations[0]!.ramBlocks[0]!.name).toBe('pc.ram');
    expect(redacted.migrations[0]!.devices.map((device) => device.name)).toContain('0000:00:03.0/virtio-net');
    expect(redacted.migrations[0]!.devices.at(-1)!.name).toBe('slot-1/virtio-blk');
  });

  test('the original is not touched, and redacting twice changes nothing more', () => {
    expect(original).toEqual(secretive());
    expect(redact(redacted).connections[0]!.directions).toEqual(redacted.connections[0]!.directions);
  });
});
