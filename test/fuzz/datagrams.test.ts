// What the fuzz set spoils must be readable while nobody spoils it: else it would fuzz nothing.
import { describe, expect, test } from 'vitest';
import { Analysis } from '../../src/analyze.js';
import { batchOf } from '../support/frames.js';
import { datagrams, type FuzzFrame, TRANSPORTS, TUNNELS } from './datagrams.mjs';
import { migration } from './streams.mjs';
import { Trouble } from './trouble.mjs';

/** Lets everything be. */
class Peace extends Trouble {
  override strikes(): boolean {
    return false;
  }
  override chance(): boolean {
    return false;
  }
}

function analysed(frames: readonly FuzzFrame[]) {
  const analysis = new Analysis();
  for (let at = 0; at < frames.length; at += 1000) {
    const part = frames.slice(at, at + 1000);
    const captured = part.map(({ bytes, ns }) => ({ bytes, tNs: Number(ns - frames[0]!.ns) }));
    analysis.push(batchOf(captured, { firstFrame: at + 1 }));
  }
  return analysis.finish({ inputs: [], epochNs: 0n, clock: 'kernel' });
}

/** Names that the result gives where they differ from those of the fuzz set. */
const NAMES: Record<string, string> = { 'esp-in-udp': 'esp' };

describe('transports', () => {
  test.each(Object.keys(TRANSPORTS))('%s', (name) => {
    const peace = new Peace(7);
    const { udp, tcp, multipath, migration: found } = analysed(datagrams(peace, migration(peace).channels, name, []));
    if (name === 'mptcp') {
      expect(tcp.connections).toHaveLength(2);
      expect(multipath).toMatchObject([{ connections: [0, 1] }]);
    } else {
      expect(udp.flows.map((flow) => flow.transport)).toEqual([NAMES[name] ?? name]);
      if (name === 'quic')
        expect(udp.flows[0]!.facts).toMatchObject({ serverName: 'vm.example', maxIdleTimeoutNs: 30e9 });
    }
    if (['udt', 'srt', 'roce', 'mptcp'].includes(name)) expect(found.migrations).toHaveLength(1);
  });
});

describe('tunnels', () => {
  const LABELS: Record<string, RegExp> = {
    'gre-key': /^gre:/,
    'gre-in-udp': /^gre$/,
    'erspan-1': /^erspan:/,
    'erspan-2': /^erspan:11$/,
    'erspan-3': /^erspan:12$/,
    ipip: /^(ipip|4in6|6in4|6in6)$/,
    'mpls-in-udp': /^mpls$/,
    'mpls-in-ip': /^mpls$/,
  };
  test.each(Object.keys(TUNNELS).filter((name) => name !== 'stt-segment'))('%s', (name) => {
    const peace = new Peace(7);
    const { udp } = analysed(datagrams(peace, migration(peace).channels, 'udt', [name]));
    expect(udp.flows.map((flow) => [flow.transport, flow.encapsulation])).toEqual([
      ['udt', [expect.stringMatching(LABELS[name] ?? new RegExp(`^${name}(:|$)`))]],
    ]);
  });
});
