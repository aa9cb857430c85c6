#!/bin/sh
# Records cancel-retry.pcap.gz again: cancelled in its second round, then once more to a fresh destination, in one capture. QEMU 7.2.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" cancel-retry --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 40 --wmem 131072 --mem 24 --filled 8 --dirty-range 4-6 --dirty-rate 600 --cancel-after 1.7 --retry \
  --capability return-path --parameter downtime-limit=30 "$@"
