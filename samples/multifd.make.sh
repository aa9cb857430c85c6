#!/bin/sh
# Records multifd.pcap.gz again: four multifd channels. The bundled one is from QEMU 10.0; QEMU='chroot DIR qemu-system-x86_64' runs
# another version than the installed one, from a tree made by debootstrap. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" multifd --qemu "${QEMU:-qemu-system-x86_64}" \
  --rate 200 --filled 10 --dirty-range 6-10 --dirty-rate 3500 \
  --capability multifd --capability return-path --parameter multifd-channels=4 --parameter downtime-limit=20 "$@"
