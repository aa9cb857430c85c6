#!/bin/sh
# Records postcopy.pcap.gz again: post-copy after 1 s, because the guest dirties memory faster than 100 Mbit/s can carry it. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" postcopy --rate 100 --wmem 262144 --filled 10 --dirty-range 6-10 --dirty-rate 6000 --postcopy-after 1 --capability postcopy-ram --parameter downtime-limit=50 "$@"
