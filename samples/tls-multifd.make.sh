#!/bin/sh
# Records tls-multifd.pcap.gz again: three multifd channels inside TLS with a pre-shared key. What the records hold is overwritten by
# zeros afterwards, because ciphertext does not pack; their headers and lengths stay. The bundled one is from QEMU 10.0; ROOT=DIR runs
# the QEMU of a tree made by debootstrap instead of the installed one. Needs root; see record.mjs.
set -eu
here=$(dirname "$0")
keys=/tmp/tls-multifd.$$
out=$(mktemp -d)
trap 'rm -rf "$out" "${ROOT:-}$keys"' EXIT
mkdir -p "${ROOT:-}$keys"
printf 'qemu:%064x\n' 1 > "${ROOT:-}$keys/keys.psk"
creds="-object tls-creds-psk,dir=$keys"
node "$here/record.mjs" tls-multifd --out "$out" --rate 200 --filled 10 --dirty-range 6-10 --dirty-rate 3500 \
  --qemu "${ROOT:+chroot $ROOT }qemu-system-x86_64 $creds,id=client,endpoint=client,username=qemu $creds,id=server,endpoint=server" \
  --capability multifd --capability return-path --parameter multifd-channels=3 --parameter downtime-limit=20 \
  --parameter tls-creds=client --destination-parameter tls-creds=server "$@"
node "$here/record/blank-tls.mjs" "$out/tls-multifd.pcap.gz" "$here/tls-multifd.pcap.gz"
cp "$out/tls-multifd.truth.json" "$here/"
