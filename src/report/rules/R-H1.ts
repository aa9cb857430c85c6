import { duration, plain, plural } from '../format.js';
import { type FailedAttempt, failedAttempts } from './attempts.js';
import { defineRule, type Observation } from './rule.js';
import { icmpErrorsAbout } from './signals.js';

export default defineRule({
  id: 'R-H1',
  title: 'Destination not reachable',
  layer: 'L0',
  needs: ['connections'],
  restsOn: [],
  explains: ['R-H7'],
  thresholds: {
    maxFindings: { value: 5, unit: 'findings', meaning: 'destinations reported one by one' },
  },
  about: {
    meaning: 'The source could not open the connection, so the migration never began.',
    evidence:
      'A SYN answered by a reset: the host is there, nobody listens on that address and port. SYNs repeated without any answer: a filter swallows them, or the host is down. An ICMP error: a router or firewall says why.',
    confusedWith: 'An MTU black hole (R-B5), where the connection opens and then stalls on the first large segment.',
    advice: [
      'Refused: check that the destination QEMU waits there (ss -ltnp | grep PORT) and is not bound to another address (-incoming tcp:ADDRESS:PORT, listen_addr in qemu.conf, --listen-address).',
      'Unanswered: open 49152–49215/tcp (libvirt’s migration range), 16509 or 16514/tcp (libvirt), 22/tcp (SSH) from source to destination, on both hosts and in between.',
    ],
  },
  run: ({ report }, limits) => {
    const byServer = new Map<string, FailedAttempt[]>();
    for (const attempt of failedAttempts(report)) {
      const { address, port } = attempt.connection.server;
      const key = `${attempt.how} ${address} ${port}`;
      byServer.set(key, [...(byServer.get(key) ?? []), attempt]);
    }
    return [...byServer.values()].slice(0, limits.maxFindings).map((attempts): Observation => {
      const { connection, how } = attempts[0]!;
      const tries = attempts.reduce((total, attempt) => total + attempt.tries, 0);
      const { address, port } = connection.server;
      const lastNs = Math.max(...attempts.map((attempt) => attempt.connection.endNs));
      const later = report.migrations.find(
        (migration) => migration.destination === address && migration.startNs >= connection.startNs,
      );
      const icmp = icmpErrorsAbout(report, address);
      const refused = how === 'refused';
      return {
        severity: later ? 'minor' : 'fatal',
        confidence: refused || icmp.length > 0 ? 0.95 : 0.85,
        packets: [...attempts.map((attempt) => attempt.connection.firstFrame), ...icmp.map((signal) => signal.frame)],
        interval: [[connection.startNs, lastNs]],
        metrics: { destination: address, port, how, tries, icmpErrors: icmp.length },
        text:
          (refused
            ? `${address} refused the connection to port ${port} (${plural(attempts.length, 'attempt')}): the host answers, but nothing listens on this address and port.`
            : `${address}:${port} never answered ${plural(tries, 'SYN')} in ${duration(lastNs - connection.startNs)}: a firewall drops them, or the host is down.`) +
          (icmp.length > 0
            ? ` ${plain(icmp[0]!.from ?? 'A router')} reported “${icmp[0]!.kind.replace('icmp-', 'ICMP ').replaceAll('-', ' ')}”.`
            : '') +
          (later ? ' A later attempt succeeded.' : ' No migration took place.'),
        advice: refused
          ? [
              `On the destination: ss -ltnp | grep ${port}. If nothing listens, the destination QEMU was not started with -incoming, has exited already (see its log), or listens on another address.`,
              'Check the bind address: -incoming tcp:[::]:PORT, listen_addr in qemu.conf or virsh migrate --listen-address.',
            ]
          : [
              `Allow ${port}/tcp from source to destination: firewall-cmd --add-port=49152-49215/tcp on the destination, and filters in between.`,
              `Test from the source: nc -zv ${address} ${port}.`,
            ],
        alternatives: refused
          ? ['A firewall configured to reject with a reset looks the same; nc from the destination itself tells.']
          : ['The destination host is down or the address is wrong: ping or arping it.'],
        connections: attempts.map((attempt) => attempt.connection.id),
      };
    });
  },
  ruledOut: ({ report, transfers }) =>
    transfers.some(({ flows }) => flows.some(({ connection }) => connection.handshakeRttNs !== null)) &&
    failedAttempts(report).length === 0
      ? 'every connection attempt was answered'
      : null,
});
