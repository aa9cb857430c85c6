#!/bin/sh
# Records auto-converge.pcap.gz again: auto-converge slows the guest down step by step, for more than 20 passes. QEMU 7.2.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" auto-converge --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 6 --wmem 65536 --mem 16 --filled 3 --dirty-range 2-3 --dirty-rate 2000 --capability auto-converge --capability return-path \
  --parameter cpu-throttle-initial=10 --parameter cpu-throttle-increment=8 --parameter downtime-limit=200 "$@"
