#!/bin/sh
# Records wan-loss.pcap.gz again: pre-copy over a lossy path, 24 ms round trip, 0.4 % loss, 100 Mbit/s. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" wan-loss --mem 48 --rate 100 --delay 12 --loss 0.4 --filled 6 --dirty-range 3-5 --dirty-rate 500 --parameter downtime-limit=100 --capability return-path "$@"
