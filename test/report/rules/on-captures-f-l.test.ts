// Every rule of groups F to L on a real capture on which it must speak, and on one that looks alike, on which it must not.
//
// `own` recordings lie in test/recordings/rules-f-l (how they were made: README.md there), `sample` ones in samples/, `shared`
// ones beside the project.
import { expect, test } from 'vitest';
import type { ReportData } from '../../../src/report/report.js';
import { diagnose } from '../../../src/report/rules/engine.js';
import { RULES } from '../../../src/report/rules/index.js';
import { reportOn } from '../../support/analyze.js';
import { haveShared, sharedCapture } from '../../support/shared.js';

interface Case {
  readonly capture: string;
  /** What is wrong in it, or what it looks like. */
  readonly shows: string;
}

const own = (name: string, shows: string): Case => ({ capture: `test/recordings/rules-f-l/${name}.pcap.zst`, shows });
const sample = (name: string, shows: string): Case => ({ capture: `samples/${name}.pcap.gz`, shows });
const shared = (path: string, shows: string): Case => ({ capture: `shared/${path}.pcap.gz`, shows });

const TABLE: readonly (readonly [rule: string, speaks: Case, silent: Case])[] = [
  ['R-F1', own('guest-clock', '4 s of memory at 150 Mbit/s'), own('late-confirmation', 'as long, but silent')],
  ['R-F2', sample('tls-multifd', 'a short stop, all of it devices'), own('guest-clock', 'memory takes all of it')],
  [
    'R-F3',
    own('late-confirmation', 'the destination is held for 0.7 s'),
    own('far-and-routed', 'a round trip of 60 ms'),
  ],
  ['R-F4', own('far-and-routed', '60 ms round trip'), own('late-confirmation', 'a slow destination next door')],
  ['R-F5', own('guest-unannounced', 'three of five RARP lost'), own('guest-moves', 'all five seen')],
  ['R-F6', own('guest-unreachable', 'asked for during 4 s'), own('guest-moves', 'asked for and answered')],
  ['R-F7', own('guest-unreachable', 'not heard for 4 s more'), own('guest-moves', 'back as soon as it runs')],
  [
    'R-F8',
    own('guest-suspended', 'its port taken away at the start'),
    own('guest-unreachable', 'gone from the switchover on'),
  ],
  ['R-F9', own('guest-clock', 'stood still for 4 s'), own('guest-unreachable', 'silent for 4 s, its clock went on')],
  ['R-G1', own('recovered', 'paused and recovered'), sample('postcopy', 'nothing broke')],
  ['R-G2', sample('postcopy-preempt', '50 Mbit/s and a full send buffer'), own('huge-pages', 'four requests only')],
  ['R-G3', own('background', 'the rest of memory fills 20 Mbit/s'), own('huge-pages', 'the link is not full')],
  ['R-G4', own('huge-pages', '2 MiB at 60 Mbit/s'), sample('postcopy-preempt', '4 KiB pages that wait')],
  ['R-G5', own('recovered', 'switched during the first pass'), sample('postcopy', 'switched after it')],
  ['R-H1', own('refused', 'nobody listens'), own('state-lost', 'a reset, but of a connection that was open')],
  ['R-H2', own('killed', 'the destination was killed'), own('cancelled', 'cancelled by the operator')],
  ['R-H3', own('other-key', 'pre-shared keys differ'), shared('tls-10.0/src', 'TLS that works')],
  ['R-H4', own('unresolved', 'no such name'), own('refused', 'an address, and nobody there')],
  ['R-H5', own('keep-alive', 'five keep-alives without an answer'), own('cancelled', 'cancelled for another reason')],
  ['R-H6', own('other-layout', '32 MiB to 64 MiB'), own('killed', 'killed while loading')],
  ['R-H7', own('cancelled', 'migrate_cancel'), own('killed', 'the destination ended it')],
  ['R-H8', own('port-of-guest', 'the port is forwarded to a guest'), own('other-layout', 'the right program refuses')],
  ['R-H9', own('state-lost', 'dropped for 3 s, then reset'), own('killed', 'reset at once')],
  ['R-I1', own('mirror', 'a mirror beside memory'), own('mirror-first', 'a mirror in step')],
  ['R-I2', own('mirror', 'written to as fast as it copies'), own('mirror-first', 'a guest that writes nothing')],
  ['R-I3', own('mirror', 'more disk than memory'), own('mirror-first', 'as much memory as disk')],
  ['R-J1', own('captures-drops', 'the capture lost 1 frame in 64'), sample('wan-loss', 'the network lost them')],
  ['R-J2', sample('precopy', 'frames of 64 KiB'), sample('wan-loss', 'frames as on the wire')],
  ['R-J3', sample('headers-only', 'snap length 128'), sample('precopy', 'whole frames')],
  ['R-J4', own('captures-late', 'started after the migration'), own('captures-drops', 'started before it')],
  ['R-J5', own('captures-one-way', 'one direction only'), own('captures-drops', 'both')],
  ['R-J6', shared('postcopy-7.2/src', 'a clock that steps back'), shared('precopy-7.2/src', 'one that does not')],
  ['R-J7', own('captures-twice', 'bridge and its port'), own('captures-drops', 'one interface')],
  ['R-K1', sample('precopy', 'clear text'), shared('tls-10.0/src', 'TLS')],
  ['R-K2', own('far-and-routed', 'two routers'), sample('wan-loss', 'as far away, but not routed')],
  ['R-K3', own('far-and-routed', 'public addresses'), sample('precopy', 'private addresses')],
  ['R-L1', own('crowded', 'heartbeats policed on a full link'), own('roomy', 'a link with room')],
  ['R-L2', own('crowded', 'another transfer on a full link'), own('roomy', 'a link with room')],
  ['R-L3', own('datagrams', 'a flow of 10 Mbit/s beside it'), own('crowded', 'heartbeats only')],
];

const reports = new Map<string, Promise<ReportData>>();

function reportOf({ capture }: Case): Promise<ReportData> {
  const path = capture.startsWith('shared/') ? sharedCapture(capture.slice('shared/'.length)) : capture;
  const known = reports.get(path) ?? reportOn(path);
  reports.set(path, known);
  return known;
}

const runs = (one: Case): boolean => haveShared || !one.capture.startsWith('shared/');
const findingsOf = async (id: string, one: Case) =>
  diagnose(await reportOf(one)).filter((finding) => finding.rule === id);

test('every rule of groups F to L is in the table', () => {
  const ids = RULES.map(({ id }) => id).filter((id) => id >= 'R-F');
  expect(TABLE.map(([rule]) => rule).sort()).toEqual(ids.sort());
});

for (const [rule, speaks, silent] of TABLE) {
  test.runIf(runs(speaks))(`${rule} speaks: ${speaks.shows}`, { timeout: 60_000 }, async () => {
    const [finding] = await findingsOf(rule, speaks);
    expect(finding).toBeDefined();
    expect(finding!.packets.length + finding!.interval.length).toBeGreaterThan(0);
    expect(finding!.text).not.toMatch(/NaN|undefined|null|Infinity/);
  });
  test.runIf(runs(silent))(`${rule} is silent: ${silent.shows}`, { timeout: 60_000 }, async () => {
    expect((await findingsOf(rule, silent)).map(({ text }) => text)).toEqual([]);
  });
}
