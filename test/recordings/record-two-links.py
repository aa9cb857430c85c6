#!/usr/bin/env python3
"""Records two-links.pcap.zst: four multifd channels over two equal links that carry one connection each by a hash of the ports
(equal-cost routes, as a bond with layer3+4 would do), so that three of them may share one link. Which link a channel takes is
chance: run it again until the split is uneven.  usage: record-two-links.py OUT

Root on Linux; Debian's qemu-system-x86, tcpdump, iproute2, gcc, zstd.
"""
import os, signal, sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'rules-f-l'))
from record import DESTINATION, SOURCE, Lab, inside, sh

LINK = (20, 2, 1024)  # Mbit/s, ms each way, KiB of queue


class TwoLinks(Lab):
    """Both hosts have one address, reached over v0 and v1 alike."""

    def __init__(self, out):
        super().__init__(out, 'two-links', relay=LINK)
        self.link(SOURCE, 'v1', DESTINATION, 'v1', LINK)
        self.addresses = ('10.79.0.1/32', '10.79.0.2/32')
        for at, host in enumerate((SOURCE, DESTINATION)):
            ours, theirs = self.addresses[at], self.addresses[1 - at].split('/')[0]
            sh(f'ip -n {host} addr add {ours} dev lo; ip -n {host} addr add 10.77.1.{1 + at}/24 dev v1; ip -n {host} link set v1 up')
            inside(host, 'sysctl -qw net.ipv4.fib_multipath_hash_policy=1 net.ipv4.conf.all.rp_filter=0')
            hops = ' '.join(f'nexthop via 10.77.{link}.{2 - at} dev v{link}' for link in (0, 1))
            sh(f'ip -n {host} route add {theirs} src {ours.split("/")[0]} {hops}')
        # The window keeps each connection's share of the queue the same.
        inside(DESTINATION, 'sysctl -qw net.ipv4.tcp_rmem="4096 131072 131072"')


if __name__ == '__main__':
    os.nice(-15)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    lab = TwoLinks(sys.argv[1])
    src, _ = lab.pair(capabilities=('return-path', 'multifd'), parameters={'multifd-channels': 4}, fill=10)
    lab.capture(device='any', snap=128, only='tcp')
    lab.migrate(src)
    lab.wait(src)
    lab.finish()
