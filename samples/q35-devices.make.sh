#!/bin/sh
# Records q35-devices.pcap.gz again: a q35 machine with network cards, USB, a disk and other devices. QEMU 10.0.
# QEMU='chroot DIR qemu-system-x86_64' runs another version than the installed one. Needs root; see record.mjs.
set -eu
exec node "$(dirname "$0")/record.mjs" q35-devices --qemu "${QEMU:-qemu-system-x86_64}" --bare \
  --machine q35 --disk 1 --device virtio-net-pci,romfile= --device e1000e,romfile= --device virtio-balloon-pci --device virtio-rng-pci \
  --device virtio-serial-pci --device qemu-xhci --device usb-tablet --device usb-kbd --device VGA,vgamem_mb=1,romfile= \
  --rate 100 --mem 24 --filled 6 --dirty-range 4-6 --dirty-rate 400 --capability return-path --parameter downtime-limit=30 "$@"
