#!/bin/sh
# Records multifd-zlib.pcap.gz again: two multifd channels with zlib, synchronised after every section as machine types before 8.1 ask for. QEMU 10.0.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" multifd-zlib --qemu "${QEMU:-qemu-system-x86_64}" \
  --machine pc-i440fx-7.2 --rate 100 --mem 32 --filled 8 --dirty-range 3-5 --dirty-rate 200 --capability multifd --capability return-path \
  --parameter multifd-channels=2 --parameter multifd-compression=zlib --parameter max-bandwidth=150000 --parameter downtime-limit=50 "$@"
