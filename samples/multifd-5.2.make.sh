#!/bin/sh
# Records multifd-5.2.pcap.gz again: two multifd channels of QEMU 5.2, which synchronises them after every section.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" multifd-5.2 --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 100 --wmem 131072 --mem 32 --filled 10 --dirty-range 6-9 --dirty-rate 1500 \
  --capability multifd --capability return-path --parameter multifd-channels=2 --parameter downtime-limit=50 "$@"
