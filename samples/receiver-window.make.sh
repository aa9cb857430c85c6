#!/bin/sh
# Records receiver-window.pcap.gz again: pre-copy limited by a 128 KiB receive buffer, 24 ms round trip. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" receiver-window --rate 200 --delay 12 --rmem 131072 \
  --mem 48 --filled 5 --dirty-range 3-5 --dirty-rate 400 --capability return-path --parameter downtime-limit=200 "$@"
