"""Overwrites what a guest's memory holds in a capture of a plain migration, so that it packs to next to nothing and gives
nothing away. Headers, lengths, times and everything outside page contents stay as recorded."""
import struct

PAGE, RAM_FLAG_ZERO, RAM_FLAG_MEMORY, RAM_FLAG_PAGE, RAM_FLAG_EOS, RAM_FLAG_CONTINUE = 4096, 0x02, 0x04, 0x08, 0x10, 0x20


def pages(path, port=49152):
    """Blanks the pages of the stream to `port` in the pcap at `path` (Ethernet, IPv4, nothing missing)."""
    data = bytearray(open(path, 'rb').read())
    pieces, at, first = [], 24, None
    while at + 16 <= len(data):
        captured = struct.unpack_from('<I', data, at + 8)[0]
        frame = at + 16
        at = frame + captured
        if data[frame + 12:frame + 14] != b'\x08\x00' or data[frame + 23] != 6:
            continue
        ip = frame + 14
        tcp = ip + (data[ip] & 15) * 4
        if struct.unpack_from('>H', data, tcp + 2)[0] != port:
            continue
        seq, start = struct.unpack_from('>I', data, tcp + 4)[0], tcp + (data[tcp + 12] >> 4) * 4
        end = ip + struct.unpack_from('>H', data, ip + 2)[0]
        if data[tcp + 13] & 2:
            first = seq + 1
        elif first is not None and end > start:
            pieces.append(((seq - first) & 0xffffffff, start, end))
    stream = bytearray(max(offset + end - start for offset, start, end in pieces))
    for offset, start, end in pieces:
        stream[offset:offset + end - start] = data[start:end]
    for offset in contents(stream):
        stream[offset:offset + PAGE] = bytes(PAGE)
    for offset, start, end in pieces:
        data[start:end] = stream[offset:offset + end - start]
    open(path, 'wb').write(data)


def contents(stream):
    """Offsets of the pages in a migration stream. Source: QEMU migration/savevm.c and migration/ram.c."""
    at = 8
    while True:
        kind = stream[at]
        if kind == 7:  # configuration: the machine's name
            at += 5 + struct.unpack_from('>I', stream, at + 1)[0]
        elif kind == 8:  # command
            at += 5 + struct.unpack_from('>H', stream, at + 3)[0]
        elif kind in (1, 2, 3):
            if kind == 1:
                length = stream[at + 5]
                if stream[at + 6:at + 6 + length] != b'ram':
                    return
                at += 6 + length + 8
            else:
                at += 5
            at = yield from section(stream, at)
            if stream[at] == 0x7e:
                at += 5
        else:  # device state follows: no more pages
            return


def section(stream, at):
    while True:
        word = struct.unpack_from('>Q', stream, at)[0]
        flags, at = word & (PAGE - 1), at + 8
        if flags & RAM_FLAG_MEMORY:
            end, left = at, word & ~(PAGE - 1)
            while left > 0:
                end += 1 + stream[end]
                left -= struct.unpack_from('>Q', stream, end)[0]
                end += 8
            at = end
        elif flags & (RAM_FLAG_ZERO | RAM_FLAG_PAGE):
            if not flags & RAM_FLAG_CONTINUE:
                at += 1 + stream[at]
            if flags & RAM_FLAG_PAGE:
                yield at
                at += PAGE
            else:
                at += 1
        elif flags & RAM_FLAG_EOS:
            return at
        else:
            raise ValueError(f'RAM record with flags {flags:#x}')
