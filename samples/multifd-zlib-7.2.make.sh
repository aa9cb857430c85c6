#!/bin/sh
# Records multifd-zlib-7.2.pcap.gz again: two multifd channels of QEMU 7.2 with zlib, one continuous zlib stream a channel.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" multifd-zlib-7.2 --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --rate 100 --mem 32 --filled 8 --dirty-range 3-5 --dirty-rate 400 --capability multifd --capability return-path \
  --parameter multifd-channels=2 --parameter multifd-compression=zlib --parameter max-bandwidth=100000 --parameter downtime-limit=50 "$@"
