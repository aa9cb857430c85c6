#!/bin/sh
# Records frozen-destination.pcap.gz again: the destination was started with -S: everything arrives, but the guest stays paused there. QEMU 10.0.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" frozen-destination --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --frozen --rate 100 --wmem 131072 --mem 24 --filled 8 --dirty-range 4-6 --dirty-rate 1000 \
  --capability return-path --parameter downtime-limit=30 "$@"
