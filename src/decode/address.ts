// IP and hardware addresses as text.

/** The IPv4 (`version` 4) or IPv6 address whose first byte is `bytes[at]`, in canonical form (RFC 5952 §4). */
export function addressText(bytes: Uint8Array, at: number, version: number): string {
  return version === 4 ? bytes.subarray(at, at + 4).join('.') : ipv6Text(bytes, at);
}

/** The 48-bit hardware address at `at`, e.g. '52:54:00:12:34:56'. */
export function macText(bytes: Uint8Array, at: number): string {
  return Array.from(bytes.subarray(at, at + 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

function ipv6Text(bytes: Uint8Array, at: number): string {
  const groups = Array.from({ length: 8 }, (_, g) => bytes[at + 2 * g]! * 256 + bytes[at + 2 * g + 1]!);
  // The longest run of at least two zero groups becomes '::'.
  let start = 0;
  let length = 0;
  for (let from = 0; from < 8; from++) {
    let to = from;
    while (to < 8 && groups[to] === 0) to++;
    if (to - from > length) {
      start = from;
      length = to - from;
    }
  }
  const hex = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return hex(groups);
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
}
