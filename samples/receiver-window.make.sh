#!/bin/sh
# Records receiver-window.pcap.gz again: pre-copy limited by a 128 KiB receive buffer, 24 ms round trip. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" receiver-window --mem 48 --rate 200 --delay 12 --rmem 131072 --filled 5 --dirty-range 3-5 --dirty-rate 300 --parameter downtime-limit=100 --capability return-path "$@"
