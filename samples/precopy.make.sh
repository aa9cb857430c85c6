#!/bin/sh
# Records precopy.pcap.gz again: plain pre-copy over 200 Mbit/s, several rounds, completes. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" precopy --rate 200 --filled 10 --dirty-range 6-10 --dirty-rate 3500 --parameter downtime-limit=10 --capability return-path "$@"
