#!/bin/sh
# Records block-5.2.pcap.gz again: legacy block migration (capability block, up to QEMU 8.2): a disk of 3 MiB travels beside the memory. QEMU 5.2.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" block-5.2 --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 50 --wmem 131072 --disk 3 --mem 24 --filled 10 --dirty-range 6-8 --dirty-rate 600 \
  --capability block --capability return-path --parameter downtime-limit=50 "$@"
