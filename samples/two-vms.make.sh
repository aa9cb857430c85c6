#!/bin/sh
# Records two-vms.pcap.gz again: two guests leave at once, with two multifd channels each. QEMU 10.0.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" two-vms --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 100 --mem 24 --filled 8 --dirty-range 4-6 --dirty-rate 400 --second 0.4 \
  --capability multifd --capability return-path --parameter multifd-channels=2 --parameter downtime-limit=50 "$@"
