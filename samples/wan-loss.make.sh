#!/bin/sh
# Records wan-loss.pcap.gz again: pre-copy over a lossy path, 24 ms round trip, 25 Mbit/s, 0.3 % loss. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" wan-loss --rate 25 --delay 12 --loss 0.3 --queue 128 \
  --mem 32 --filled 5 --dirty-range 3-5 --dirty-rate 200 --capability return-path --parameter downtime-limit=80 "$@"
