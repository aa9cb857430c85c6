import { describe, expect, test } from 'vitest';
import { filterComplaint } from '../../../src/capture/live/engine-child.js';
import { ENGINE_NAMES, ENGINES, findProgram } from '../../../src/capture/live/engines.js';
import { interfaceNames, isUp, listInterfaces } from '../../../src/capture/live/interfaces.js';

const engine = (name: string) => ENGINES.find((candidate) => candidate.name === name)!;
const everything = { interface: 'eth0', filter: 'tcp port 49152', snapLength: 128 };

describe('how engines are called', () => {
  test('the most precise comes first', () => {
    expect(ENGINES.map(({ name }) => name)).toEqual([...ENGINE_NAMES]);
    expect(ENGINES.map(({ clock }) => clock)).toEqual(['kernel', 'kernel', 'arrival']);
  });

  test('tcpdump writes every frame at once to a pipe, from a ring of 128 MiB', () => {
    expect(engine('tcpdump').arguments(everything).join(' ')).toMatch(
      /^-i eth0 -w - -U -n -B 131072 (--time-stamp-precision=nano )?-s 128 -- tcp port 49152$/,
    );
  });

  test('dumpcap the same', () => {
    expect(engine('dumpcap').arguments(everything).join(' ')).toBe('-q -i eth0 -w - -B 128 -s 128 -f tcp port 49152');
  });

  test('the host process of cap gets three plain words', () => {
    const [script, ...words] = engine('cap').arguments({ ...everything, filter: null, snapLength: null });
    expect(script).toMatch(/cap-child\.js$/);
    expect(words).toEqual(['eth0', '', '']);
  });

  test('a filter that looks like an option stays a filter', () => {
    const args = engine('tcpdump').arguments({ ...everything, filter: '-Z root' });
    expect(args.slice(-2)).toEqual(['--', '-Z root']);
  });
});

describe('what engines say', () => {
  const lost = (name: string, text: string) => engine(name).lost.exec(text)?.[1];

  test('their losses', () => {
    const sentence =
      'tcpdump: 146256 packets captured, 193271 packets received by filter, 47015 packets dropped by kernel';
    expect(lost('tcpdump', sentence)).toBe('47015');
    expect(lost('tcpdump', '1 packet dropped by kernel')).toBe('1');
    // Frames the card never handed to the host are no loss of the capture: nobody else got them either.
    expect(lost('tcpdump', '7 packets dropped by interface')).toBeUndefined();
    expect(
      lost(
        'dumpcap',
        "Packets received/dropped on interface 'va': 308015/794 (pcap:794/dumpcap:0/flushed:0/ps_ifdrop:0) (99.7%)",
      ),
    ).toBe('794');
    expect(lost('cap', '19421 frames dropped by the queue')).toBe('19421');
  });

  test('that they capture', () => {
    expect(engine('tcpdump').ready.test('tcpdump: listening on va, link-type EN10MB (Ethernet)')).toBe(true);
    expect(engine('dumpcap').ready.test("Capturing on 'va'\n")).toBe(false); // printed before the interface is opened
    expect(engine('dumpcap').ready.test("Capturing on 'va'\nFile: -\n")).toBe(true);
  });

  test.each([
    ["tcpdump: can't parse filter expression: syntax error", 'syntax error'],
    [
      "That string isn't a valid capture filter (can't parse filter expression: syntax error).\nSee the",
      'syntax error',
    ],
    ["tcpdump: unknown host 'nowhere'", "unknown host 'nowhere'"],
    ["That string isn't a valid capture filter (unknown host 'nowhere').", "unknown host 'nowhere'"],
    ['tcpdump: expression rejects all packets', 'expression rejects all packets'],
  ])('what they dislike about a filter: %#', (text, complaint) => {
    expect(filterComplaint(text)).toBe(complaint);
  });
});

describe('this machine', () => {
  test('a program is found where the shell finds it, and one that is nowhere is not', () => {
    expect(findProgram('sh')).toMatch(/\/sh$/);
    expect(findProgram('no-such-program-anywhere')).toBeNull();
  });

  test.runIf(process.platform === 'linux')('has a loopback interface', () => {
    expect(interfaceNames()).toContain('lo');
    expect(listInterfaces().find(({ name }) => name === 'lo')).toMatchObject({ name: 'lo', speedMbit: null });
    expect(isUp('no-such-interface')).toBeNull();
    expect(isUp('../../etc')).toBeNull();
  });
});
