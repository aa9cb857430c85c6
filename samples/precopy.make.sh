#!/bin/sh
# Records precopy.pcap.gz again: plain pre-copy over 200 Mbit/s, several rounds, completes. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" precopy --rate 200 --filled 13 --dirty-range 8-10 --dirty-rate 3500 --parameter downtime-limit=10 "$@"
