#!/usr/bin/env python3
"""Records the captures of this folder: real QEMU migrations between network namespaces, each set up so that one rule must
speak or a look-alike must stay silent.  usage: record.py OUT [SCENARIO …]; without names, all of them.

Root on Linux; Debian's qemu-system-x86, tcpdump, iproute2, iptables, gcc, zstd. The scenarios of a running guest (guest_*) also need
GUEST_KERNEL and GUEST_INITRD: a Linux kernel and an initial RAM disk that brings up eth0 as 10.77.0.50/24 on virtio-net and
runs an echo service on TCP port 7 (see README.md). What its memory holds is blanked in the recording (blank.py).
"""
import json, os, shutil, signal, socket, subprocess, sys, tempfile, threading, time

import blank

SOURCE, DESTINATION, ROUTER, CLIENT = 'rul-s', 'rul-d', 'rul-r', 'rul-c'
PORT = 49152
GUEST, GUEST_MAC = '10.77.0.50', '52:54:00:aa:bb:01'


def sh(command, check=True):
    return subprocess.run(command, shell=True, check=check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout


def inside(host, command, check=True):
    return sh(f'ip netns exec {host} {command}', check)


def until(condition, seconds):
    end = time.time() + seconds
    while not condition():
        if time.time() > end:
            sys.exit('what was waited for did not come')
        time.sleep(0.005)


class Qmp:
    def __init__(self, path):
        for _ in range(200):
            try:
                self.socket = socket.socket(socket.AF_UNIX)
                self.socket.connect(path)
                break
            except OSError:
                time.sleep(0.05)
        self.file = self.socket.makefile('rw')
        self.file.readline()
        self.lock = threading.Lock()
        self.events = []
        self('qmp_capabilities')

    def __call__(self, execute, **arguments):
        with self.lock:
            self.file.write(json.dumps({'execute': execute, 'arguments': arguments}) + '\n')
            self.file.flush()
            while True:
                message = json.loads(self.file.readline())
                if 'event' in message:
                    self.events.append(message['event'])
                elif 'error' in message:
                    raise RuntimeError(f"{execute}: {message['error']['desc']}")
                else:
                    return message['return']


class Lab:
    """Two hosts on one link. Everything it starts ends with it."""

    def __init__(self, out, name, rate=None, routers=0, relay=None):
        self.out, self.name = out, name
        self.folder = tempfile.mkdtemp(prefix='rules-lab-')
        self.processes, self.captures, self.files = [], [], []
        self.addresses = ('10.77.0.1/24', '10.77.0.2/24')
        for host in (SOURCE, DESTINATION, CLIENT, ROUTER, ROUTER + '2'):
            sh(f'ip netns del {host}', False)
        for host in (SOURCE, DESTINATION):
            sh(f'ip netns add {host}; ip -n {host} link set lo up')
        if routers:
            self.route(routers, relay)
        else:
            self.link(SOURCE, 'v0', DESTINATION, 'v0', relay)
            for host, address in zip((SOURCE, DESTINATION), self.addresses):
                sh(f'ip -n {host} addr add {address} dev v0; ip -n {host} link set v0 up')
        if rate:
            inside(SOURCE, f'tc qdisc add dev v0 root handle 1: tbf rate {rate}mbit burst 64k latency 50ms')

    def link(self, left, ours, right, theirs, relay=None):
        """Two devices, joined directly or by the samples' relay: (Mbit/s, ms each way, KiB of queue)."""
        if not relay:
            sh(f'ip link add {ours} netns {left} type veth peer name {theirs} netns {right}')
            return
        rate, delay, queue = relay
        program = f'{self.folder}/link'
        sh(f'gcc -O2 -o {program} {os.path.dirname(os.path.abspath(__file__))}/../../../samples/record/link.c')
        arguments = [rate * 10**6, delay * 1000, queue << 10, 0, 1]
        process = subprocess.Popen([program, 'rul-l', 'rul-m', *map(str, arguments)], stdout=subprocess.PIPE)
        self.processes.append(process)
        process.stdout.readline()
        sh(f'ip link set rul-l netns {left} name {ours}; ip link set rul-m netns {right} name {theirs}')

    def route(self, routers, relay):
        """SOURCE – router – (router) – DESTINATION, each link a network of its own, the first one long."""
        chain = [SOURCE, ROUTER, ROUTER + '2'][: routers + 1] + [DESTINATION]
        for host in chain[1:-1]:
            sh(f'ip netns add {host}; ip netns exec {host} sysctl -qw net.ipv4.ip_forward=1')
        networks = ['203.0.113', '192.0.2', '198.51.100']
        for at, (left, right) in enumerate(zip(chain, chain[1:])):
            network = networks[at] if right != DESTINATION else networks[2]
            ours, theirs = ('v0' if at == 0 else 'right'), ('v0' if right == DESTINATION else 'left')
            self.link(left, ours, right, theirs, relay if at == 0 else None)
            sh(f'ip -n {left} addr add {network}.1/24 dev {ours}; ip -n {left} link set {ours} up')
            sh(f'ip -n {right} addr add {network}.2/24 dev {theirs}; ip -n {right} link set {theirs} up')
            sh(f'ip -n {left} route add default via {network}.2', False)
            if left != SOURCE:
                for before in networks[:at]:
                    sh(f'ip -n {right} route add {before}.0/24 via {network}.1', False)
        self.addresses = ('203.0.113.1/24', '198.51.100.2/24')

    @property
    def destination(self):
        return self.addresses[1].split('/')[0]

    @property
    def source(self):
        return self.addresses[0].split('/')[0]

    def bridge(self):
        """A bridge on each host with the link, a tap for the guest, and on the source's one a client."""
        sh(f'ip netns add {CLIENT}')
        for host, address in zip((SOURCE, DESTINATION), self.addresses):
            sh(f'ip -n {host} addr flush dev v0; ip -n {host} link add br0 type bridge; ip -n {host} link set v0 master br0;'
               f'ip -n {host} tuntap add t0 mode tap; ip -n {host} link set t0 master br0; ip -n {host} link set t0 up;'
               f'ip -n {host} link set br0 up; ip -n {host} addr add {address} dev br0;'
               f'for link in v0 br0; do ip -n {host} link set $link mtu 60000; done')  # few frames, small recordings
        sh(f'ip link add c0 netns {CLIENT} type veth peer name vc netns {SOURCE}; ip -n {SOURCE} link set vc master br0 up;'
           f'ip -n {CLIENT} addr add 10.77.0.9/24 dev c0; ip -n {CLIENT} link set c0 up')

    def start(self, host, command, **options):
        process = subprocess.Popen(['ip', 'netns', 'exec', host] + command, stdout=subprocess.DEVNULL,
                                   stderr=open(f'{self.folder}/errors', 'a'), **options)
        self.processes.append(process)
        return process

    def capture(self, suffix='', host=SOURCE, device='v0', snap=0, only='', settle=1.0):
        path = f'{self.folder}/{self.name}{suffix}.pcap'
        command = ['tcpdump', '-i', device, '-w', path, '-s', str(snap), '-B', '32768', '-U', '-Z', 'root', '-n'] + only.split()
        process = self.start(host, command)
        self.processes.remove(process)
        self.captures.append(process)
        self.files.append(path)
        time.sleep(settle)

    def qemu(self, host, name, *extra, memory=32, fill=0, runs=False):
        command = ['qemu-system-x86_64', '-accel', 'tcg', '-m', str(memory), '-nodefaults', '-display', 'none', '-machine', 'pc',
                   '-qmp', f'unix:{self.folder}/{name}.qmp,server=on,wait=off', *extra]
        if '-kernel' not in extra:  # firmware would only be bulk; what runs instead is a loop over zeros
            open(f'{self.folder}/firmware', 'wb').write(bytes(1 << 16))
            command += ['-bios', f'{self.folder}/firmware'] + ([] if runs else ['-S'])
        if fill:
            path = f'{self.folder}/fill.bin'
            with open(path, 'wb') as file:
                for page in range(fill << 8):
                    file.write(bytes([1 + page % 255]) * 4096)
            command += ['-device', f'loader,file={path},addr=0x400000,force-raw=on']
        process = self.start(host, command)
        monitor = Qmp(f'{self.folder}/{name}.qmp')
        monitor.process = process
        return monitor

    def pair(self, *extra, both=(), capabilities=('return-path',), memory=32, fill=0, destination=(), listen=True, parameters={}, runs=False):
        """Source and waiting destination."""
        src = self.qemu(SOURCE, 'src', *both, *extra, memory=memory, fill=fill, runs=runs)
        dst = self.qemu(DESTINATION, 'dst', *both, '-incoming', 'defer', *destination, memory=memory, runs=runs)
        for monitor in (src, dst):
            monitor('migrate-set-capabilities', capabilities=[{'capability': name, 'state': True} for name in ('events', *capabilities)])
        src('migrate-set-parameters', **{'max-bandwidth': 1 << 40, **parameters})
        if 'multifd-channels' in parameters:
            dst('migrate-set-parameters', **parameters)
        if listen:
            dst('migrate-incoming', uri=f'tcp:{self.destination}:{PORT}')
        return src, dst

    def migrate(self, src, port=PORT, host=None):
        src('migrate', uri=f'tcp:{host or self.destination}:{port}')

    def wait(self, src, *states, timeout=40):
        end = time.time() + timeout
        while time.time() < end:
            status = src('query-migrate').get('status')
            if status in states or status in ('completed', 'failed', 'cancelled'):
                return status
            time.sleep(0.02)
        return None

    def finish(self, hold=0.5, guest_memory=False):
        time.sleep(hold)
        for process in self.captures:
            process.terminate()
            process.wait()
        for process in self.processes[::-1]:
            process.kill()
            process.wait()
        for path in self.files:
            if guest_memory:
                blank.pages(path)
            sh(f'zstd -q -f --ultra -20 {path} -o {self.out}/{os.path.basename(path)}.zst')
        for host in (SOURCE, DESTINATION, CLIENT, ROUTER, ROUTER + '2'):
            sh(f'ip netns del {host}', False)
        shutil.rmtree(self.folder)


# Reaching the destination, and being thrown off


def refused(out):
    lab = Lab(out, 'refused')
    src, _ = lab.pair(listen=False)
    lab.capture()
    lab.migrate(src)
    lab.wait(src)
    lab.finish()


def unresolved(out):
    """The name server says that there is no such host; QEMU never gets as far as a SYN."""
    lab = Lab(out, 'unresolved')
    os.makedirs(f'/etc/netns/{SOURCE}', exist_ok=True)
    open(f'/etc/netns/{SOURCE}/resolv.conf', 'w').write(f'nameserver {lab.destination}\noptions timeout:1 attempts:1\n')
    lab.start(DESTINATION, [sys.executable, '-c', '''
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
while True:
    query, client = server.recvfrom(512)
    server.sendto(query[:2] + bytes([0x81, 0x83]) + query[4:], client)
'''])
    src = lab.qemu(SOURCE, 'src')
    lab.capture()
    try:
        lab.migrate(src, host='node7.example')
    except RuntimeError:
        pass
    lab.finish()
    shutil.rmtree(f'/etc/netns/{SOURCE}')


def killed(out):
    lab = Lab(out, 'killed', rate=12)
    src, dst = lab.pair(fill=4)
    lab.capture()
    lab.migrate(src)
    time.sleep(0.8)
    dst.process.kill()
    lab.wait(src)
    lab.finish()


def cancelled(out):
    lab = Lab(out, 'cancelled', rate=12)
    src, _ = lab.pair(fill=4)
    lab.capture()
    lab.migrate(src)
    time.sleep(0.8)
    src('migrate_cancel')
    lab.wait(src)
    lab.finish(hold=4)  # what was written has to drain first


def other_layout(out):
    """The destination has twice the memory."""
    lab = Lab(out, 'other-layout')
    src = lab.qemu(SOURCE, 'src')
    dst = lab.qemu(DESTINATION, 'dst', '-incoming', 'defer', memory=64)
    for monitor in (src, dst):
        monitor('migrate-set-capabilities', capabilities=[{'capability': 'return-path', 'state': True}])
    dst('migrate-incoming', uri=f'tcp:{lab.destination}:{PORT}')
    lab.capture()
    lab.migrate(src)
    lab.wait(src)
    lab.finish()


def other_key(out):
    """TLS with pre-shared keys that differ: the handshake fails."""
    lab = Lab(out, 'other-key')
    for name, digit in (('src', '1'), ('dst', '2')):
        os.makedirs(f'{lab.folder}/{name}')
        open(f'{lab.folder}/{name}/keys.psk', 'w').write(f"qemu:{digit * 64}\n")
    src = lab.qemu(SOURCE, 'src', '-object', f'tls-creds-psk,id=tls0,endpoint=client,dir={lab.folder}/src,username=qemu')
    dst = lab.qemu(DESTINATION, 'dst', '-incoming', 'defer', '-object', f'tls-creds-psk,id=tls0,endpoint=server,dir={lab.folder}/dst')
    for monitor in (src, dst):
        monitor('migrate-set-parameters', **{'tls-creds': 'tls0', 'tls-hostname': 'dst'})
    dst('migrate-incoming', uri=f'tcp:{lab.destination}:{PORT}')
    lab.capture()
    lab.migrate(src)
    lab.wait(src)
    lab.finish()


def keep_alive(out):
    """A stand-in for libvirtd: keep-alives every second over port 16509; after five without an answer it closes and cancels."""
    lab = Lab(out, 'keep-alive', rate=8)
    src, _ = lab.pair(fill=14)
    lab.capture()
    lab.start(DESTINATION, [sys.executable, '-c', '''
import socket
server = socket.create_server(("", 16509))
client = server.accept()[0]
while client.recv(28): client.send(bytes(28))
'''])
    time.sleep(0.5)
    control = lab.start(SOURCE, [sys.executable, '-c', f'''
import socket, struct, time
control = socket.create_connection(("{lab.destination}", 16509))
control.settimeout(1)
missed = 0
while missed < 5:
    control.send(bytes(28))
    try: control.recv(28); missed = 0; time.sleep(1)
    except TimeoutError: missed += 1
control.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
control.close()
'''])
    time.sleep(1.5)
    lab.migrate(src)
    time.sleep(2)
    for chain in ('INPUT', 'OUTPUT'):
        inside(DESTINATION, f'iptables -A {chain} -i v0 -j DROP' if chain == 'INPUT' else f'iptables -A {chain} -o v0 -j DROP')
    control.wait()
    src('migrate_cancel')
    time.sleep(0.5)
    inside(DESTINATION, 'iptables -F')
    lab.finish(hold=6)


def state_lost(out):
    """A firewall between the hosts forgets the connection: it drops for a while, then answers with resets."""
    lab = Lab(out, 'state-lost', rate=12)
    src, _ = lab.pair(fill=14)
    lab.capture()
    lab.migrate(src)
    time.sleep(0.8)
    inside(DESTINATION, f'iptables -A INPUT -p tcp --dport {PORT} -j DROP')
    inside(DESTINATION, f'iptables -A OUTPUT -p tcp --sport {PORT} -j DROP')
    time.sleep(3)
    inside(DESTINATION, f'iptables -D OUTPUT -p tcp --sport {PORT} -j DROP')
    inside(DESTINATION, f'iptables -R INPUT 1 -p tcp --dport {PORT} -j REJECT --reject-with tcp-reset')
    lab.wait(src)
    lab.finish(hold=2)


def port_of_guest(out):
    """The destination forwards the migration port to a guest behind it, as a shared pod address does."""
    lab = Lab(out, 'port-of-guest')
    sh(f'ip netns add {CLIENT}; ip link add c0 netns {CLIENT} type veth peer name vg netns {DESTINATION};'
       f'ip -n {DESTINATION} addr add 10.0.2.1/24 dev vg; ip -n {DESTINATION} link set vg up; ip -n {CLIENT} addr add 10.0.2.2/24 dev c0;'
       f'ip -n {CLIENT} link set c0 up; ip -n {CLIENT} route add default via 10.0.2.1')
    inside(DESTINATION, 'sysctl -qw net.ipv4.ip_forward=1')
    inside(DESTINATION, f'iptables -t nat -A PREROUTING -i v0 -p tcp --dport {PORT} -j DNAT --to-destination 10.0.2.2')
    inside(CLIENT, 'sysctl -qw net.ipv4.tcp_timestamps=0')
    lab.start(CLIENT, [sys.executable, '-c', f'''
import socket
server = socket.create_server(("", {PORT}))
while True:
    client = server.accept()[0]
    client.recv(4096)
    client.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")
    client.close()
'''])
    lab.start(DESTINATION, [sys.executable, '-m', 'http.server', '22'], cwd=lab.folder)
    src, _ = lab.pair()
    lab.capture()
    inside(SOURCE, f'bash -c "echo > /dev/tcp/{lab.destination}/22"', False)
    lab.migrate(src)
    lab.wait(src)
    lab.finish(hold=1.5)


# The path


def far_and_routed(out):
    """Two routers between public addresses, 60 ms: round trips are the downtime, and memory crosses them in clear text."""
    lab = Lab(out, 'far-and-routed', routers=2, relay=(1000, 30, 1024))
    src, _ = lab.pair(parameters={'downtime-limit': 2000})
    lab.capture()
    lab.migrate(src)
    lab.wait(src)
    lab.finish()


def late_confirmation(out):
    """The destination is held: all of the short stream waits in its socket for 0.7 s before it is loaded and confirmed."""
    lab = Lab(out, 'late-confirmation', rate=400)
    inside(DESTINATION, "sysctl -qw net.ipv4.tcp_rmem='4096 4194304 6291456'")  # room for all of it
    src, dst = lab.pair(memory=8)
    lab.capture()
    os.kill(dst.process.pid, signal.SIGSTOP)
    lab.migrate(src)
    time.sleep(0.7)
    os.kill(dst.process.pid, signal.SIGCONT)
    lab.wait(src)
    lab.finish()


def crowded(out, name='crowded', rate=8, policed=True):
    """Heartbeats of a cluster and another guest's transfer on the link that the migration fills; a policer on the way back."""
    lab = Lab(out, name, relay=(rate, 0, 48))
    src, _ = lab.pair(fill=2, memory=16)
    if policed:
        inside(DESTINATION, 'iptables -A OUTPUT -m limit --limit 120/s --limit-burst 20 -j ACCEPT')
        inside(DESTINATION, 'iptables -A OUTPUT -j DROP')
    lab.capture(snap=128)
    for host, other in ((SOURCE, lab.destination), (DESTINATION, lab.source)):
        lab.start(host, [sys.executable, '-c', f'''
import socket, time
beat = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
beat.bind(("", 5405))
while True:
    try: beat.sendto(bytes(100), ("{other}", 5405))
    except OSError: pass  # dropped
    time.sleep(0.05)
'''])
    sh(f'ip -n {SOURCE} addr add 10.77.0.71/24 dev v0; ip -n {DESTINATION} addr add 10.77.0.72/24 dev v0')
    lab.start(DESTINATION, [sys.executable, '-c', '''
import socket
server = socket.create_server(("10.77.0.72", 8080))
client = server.accept()[0]
while client.recv(1 << 16): pass
'''])
    time.sleep(0.3)
    lab.start(SOURCE, [sys.executable, '-c', f'''
import socket, time
service = socket.create_connection(("10.77.0.72", 8080), source_address=("10.77.0.71", 0))
while True:
    service.sendall(bytes(12000))
    time.sleep(0.04)
'''])
    time.sleep(2.5)
    lab.migrate(src)
    lab.wait(src)
    lab.finish(hold=2.5)


def roomy(out):
    crowded(out, 'roomy', 500, policed=False)


def datagrams(out):
    """A flow of datagrams takes a third of the link while memory moves."""
    lab = Lab(out, 'datagrams', rate=30)
    src, _ = lab.pair(fill=10)
    lab.capture(snap=128)
    lab.start(DESTINATION, [sys.executable, '-c', '''
import socket
sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sink.bind(("", 9999))
while True: sink.recv(2000)
'''])
    lab.start(SOURCE, [sys.executable, '-c', f'''
import socket, time
source = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    for _ in range(10): source.sendto(bytes(1400), ("{lab.destination}", 9999))
    time.sleep(0.012)
'''])
    time.sleep(0.3)
    lab.migrate(src)
    lab.wait(src)
    lab.finish()


# Storage


def mirror(out, name='mirror', busy=True):
    """A disk mirrored over NBD on the link. Busy: written to as fast as the mirror copies, while memory moves as well."""
    lab = Lab(out, name, rate=20)
    for side in ('src', 'dst'):
        with open(f'{lab.folder}/{side}.img', 'wb') as image:
            for block in range(64):
                image.write(bytes([1 + block]) * 65536 if side == 'src' else bytes(65536))
    def disk(side):
        return ('-blockdev', f'driver=file,filename={lab.folder}/{side}.img,node-name=file0', '-blockdev', 'driver=raw,file=file0,node-name=disk0',
                '-device', 'virtio-blk-pci,drive=disk0,id=vda')
    src = lab.qemu(SOURCE, 'src', *disk('src'), fill=0 if busy else 4)
    dst = lab.qemu(DESTINATION, 'dst', *disk('dst'), '-incoming', 'defer')
    for monitor in (src, dst):
        monitor('migrate-set-capabilities', capabilities=[{'capability': 'return-path', 'state': True}])
    src('migrate-set-capabilities', capabilities=[{'capability': 'pause-before-switchover', 'state': True}])
    src('migrate-set-parameters', **{'max-bandwidth': 1 << 40})
    dst('nbd-server-start', addr={'type': 'inet', 'data': {'host': lab.destination, 'port': str(PORT + 1)}})
    dst('block-export-add', type='nbd', id='export0', **{'node-name': 'disk0', 'writable': True, 'name': 'disk0'})
    dst('migrate-incoming', uri=f'tcp:{lab.destination}:{PORT}')
    lab.capture()
    src('blockdev-add', driver='nbd', **{'node-name': 'target', 'server': {'type': 'inet', 'host': lab.destination, 'port': str(PORT + 1)}, 'export': 'disk0'})
    src('blockdev-mirror', **{'job-id': 'mirror', 'device': 'disk0', 'target': 'target', 'sync': 'full'})
    stop = threading.Event()
    def write():
        value = 0
        while not stop.is_set():
            value = value % 250 + 1
            src('human-monitor-command', **{'command-line': f'qemu-io -d vda/virtio-backend "write -P {value} {value % 8 * 256}k 256k"'})
            time.sleep(0.01)
    writer = threading.Thread(target=write)
    if busy:
        writer.start()
        time.sleep(3)
    else:
        while not src('query-block-jobs')[0]['ready']:
            time.sleep(0.05)
        time.sleep(0.5)
    lab.migrate(src)
    lab.wait(src, 'pre-switchover')
    if busy:
        stop.set()
        writer.join()
    src('block-job-cancel', device='mirror')
    while src('query-block-jobs'):
        time.sleep(0.02)
    src('migrate-continue', state='pre-switchover')
    lab.wait(src)
    lab.finish(hold=1)


def mirror_first(out):
    mirror(out, 'mirror-first', busy=False)


# Post-copy


def recovered(out):
    lab = Lab(out, 'recovered', rate=40)
    src, dst = lab.pair(capabilities=('return-path', 'postcopy-ram'), fill=12)
    lab.capture()
    lab.migrate(src)
    time.sleep(0.5)
    src('migrate-start-postcopy')
    lab.wait(src, 'postcopy-active')
    time.sleep(0.3)
    src('migrate-pause')
    lab.wait(src, 'postcopy-paused')
    time.sleep(1.5)
    dst('migrate-recover', uri=f'tcp:{lab.destination}:{PORT + 2}')
    src('migrate', uri=f'tcp:{lab.destination}:{PORT + 2}', resume=True)
    lab.wait(src)
    lab.finish()


def background(out):
    """After the switch the rest of memory fills the link."""
    lab = Lab(out, 'background', rate=20)
    src, _ = lab.pair(capabilities=('return-path', 'postcopy-ram'), fill=8, runs=True)
    lab.capture()
    lab.migrate(src)
    time.sleep(0.3)
    src('migrate-start-postcopy')
    lab.wait(src)
    lab.finish()


# What the capture shows


def captures(out):
    """One migration, captured in four ways that each miss something."""
    lab = Lab(out, 'captures', rate=50)
    src, _ = lab.pair(fill=8)
    lab.capture('-drops', snap=128, only='not ip[4:2] & 0x3f = 7', settle=0)
    lab.capture('-one-way', snap=128, only='src host 10.77.0.1', settle=0)
    sh(f'ip -n {SOURCE} link add br0 type bridge; ip -n {SOURCE} addr flush dev v0; ip -n {SOURCE} link set v0 master br0;'
       f'ip -n {SOURCE} link set br0 up; ip -n {SOURCE} addr add 10.77.0.1/24 dev br0')
    lab.capture('-twice', device='any', snap=128)
    lab.migrate(src)
    time.sleep(0.25)
    lab.capture('-late', snap=128, settle=0)
    lab.wait(src)
    lab.finish()


# A Linux guest with a network card, and a client that talks to it


def guest(out, name, during=lambda lab, dst: None, after=lambda lab, dst: None, rate=300, parameters={}, hold=4):
    lab = Lab(out, name, rate=rate)
    lab.bridge()
    nic = ('-netdev', 'tap,id=n0,ifname=t0,script=no,downscript=no', '-device', f'virtio-net-pci,netdev=n0,mac={GUEST_MAC},romfile=')
    boot = ('-kernel', os.environ['GUEST_KERNEL'], '-initrd', os.environ['GUEST_INITRD'], '-append', 'console=ttyS0 quiet',
            '-serial', f'file:{lab.folder}/serial')
    src, dst = lab.pair(both=(*nic, *boot), memory=88, parameters=parameters)
    until(lambda: 'READY' in open(f'{lab.folder}/serial').read(), 40)
    time.sleep(1)
    lab.capture(device='br0')  # where the client's frames pass before the move and after it
    lab.start(CLIENT, ['ping', '-q', '-i', '0.1', '-s', '16', GUEST])
    lab.start(CLIENT, [sys.executable, '-c', f'''
import socket, time
service = socket.create_connection(("{GUEST}", 7))
while True:
    service.send(b"hello\\n")
    service.recv(100)
    time.sleep(0.05)
'''])
    time.sleep(2)
    during(lab, dst)
    lab.migrate(src)
    until(lambda: dst('query-status') and 'RESUME' in dst.events, 60)
    after(lab, dst)
    lab.wait(src)
    lab.finish(hold=hold, guest_memory=True)


def guest_moves(out):
    """All is well: the guest is back as soon as it runs."""
    guest(out, 'guest-moves', rate=500)


def guest_unannounced(out):
    """The guest's port is wired 0.3 s after it runs: three of five announcements are lost."""
    def late(lab, _dst):
        time.sleep(0.3)
        sh(f'ip -n {DESTINATION} link set t0 master br0')
    guest(out, 'guest-unannounced', during=lambda *_: sh(f'ip -n {DESTINATION} link set t0 nomaster'), after=late)


def guest_unreachable(out):
    """Announced at once, but for 4 s what the client sends does not reach the guest's new place, and the client has to ask for it."""
    def between(_lab, state):
        for port in ('vc', 'v0'):
            inside(SOURCE, f'bridge link set dev {port} isolated {state}')
    def found_late(lab, _dst):
        sh(f'ip -n {CLIENT} neigh flush all')
        time.sleep(4)
        between(lab, 'off')
    guest(out, 'guest-unreachable', during=lambda lab, _dst: between(lab, 'on'), after=found_late)


def guest_suspended(out):
    """The guest's card is taken away when the migration begins, as a device that cannot run while its state is copied."""
    guest(out, 'guest-suspended', rate=250, during=lambda *_: sh(f'ip -n {SOURCE} link set t0 nomaster'))


def guest_clock(out):
    """A long stop: the link is slow and the limit on the downtime generous."""
    guest(out, 'guest-clock', rate=150, parameters={'downtime-limit': 20000}, hold=5)


SCENARIOS = [refused, unresolved, killed, cancelled, other_layout, other_key, keep_alive, state_lost, port_of_guest, far_and_routed,
             late_confirmation, crowded, roomy, datagrams, mirror, mirror_first, recovered, background, captures,
             guest_moves, guest_unannounced, guest_unreachable, guest_suspended, guest_clock]

if __name__ == '__main__':
    os.nice(-15)  # times in the recordings should be those of the link, not of a busy machine
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    for scenario in SCENARIOS:
        if len(sys.argv) < 3 or scenario.__name__ in sys.argv[2:]:
            print(scenario.__name__, flush=True)
            scenario(sys.argv[1])
