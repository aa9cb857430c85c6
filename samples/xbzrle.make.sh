#!/bin/sh
# Records xbzrle.pcap.gz again: XBZRLE: pages sent again travel as differences. QEMU 7.2.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" xbzrle --qemu "${QEMU:-qemu-system-x86_64}" \
  --rate 25 --mem 32 --filled 6 --dirty-range 3-5 --dirty-rate 1500 --capability xbzrle --capability return-path \
  --parameter xbzrle-cache-size=8388608 --parameter downtime-limit=1 "$@"
