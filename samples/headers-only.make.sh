#!/bin/sh
# Records headers-only.pcap.gz again: pre-copy captured with a snap length of 128 bytes. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" headers-only --snaplen 128 --rate 300 --filled 24 --dirty-range 8-12 --dirty-rate 4000 --parameter downtime-limit=10 --capability return-path "$@"
