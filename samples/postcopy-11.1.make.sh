#!/bin/sh
# Records postcopy-11.1.pcap.gz again: post-copy of QEMU 11.1, because the guest dirties memory faster than the link can carry it.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" postcopy-11.1 --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 50 --wmem 131072 --mem 24 --filled 9 --dirty-range 3-9 --dirty-rate 5000 --postcopy-after 1.7 \
  --capability postcopy-ram --parameter downtime-limit=20 "$@"
