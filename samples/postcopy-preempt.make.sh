#!/bin/sh
# Records postcopy-preempt.pcap.gz again: post-copy with a preempt channel for the pages the guest waits for. QEMU 10.0.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" postcopy-preempt --qemu "${QEMU:-qemu-system-x86_64}" \
  --rate 50 --wmem 131072 --mem 32 --filled 11 --dirty-range 3-11 --dirty-rate 5000 --postcopy-after 2 --capability postcopy-ram --capability postcopy-preempt \
  --parameter downtime-limit=20 "$@"
