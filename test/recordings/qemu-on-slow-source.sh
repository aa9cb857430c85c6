#!/bin/sh
# QEMU for record.mjs; the source's gets only part of a core. Needs root and cgroup v1 (cpu controller).
#
#   QUOTA_US of every PERIOD_US     CPU time of the whole process, by CFS bandwidth control
#   STOP_MS in every STOP_EVERY_S   stopped altogether, as something that takes QEMU's locks would
set -eu
case "$*" in *-incoming*) exec qemu-system-x86_64 "$@" ;; esac
if [ -n "${QUOTA_US:-}" ]; then
  # `ip netns exec` gives us a mount namespace of our own, without the control groups.
  mount -t cgroup -o cpu none /mnt
  group=/mnt/slow-source-$$
  mkdir "$group"
  echo "${PERIOD_US:-100000}" >"$group/cpu.cfs_period_us"
  echo "$QUOTA_US" >"$group/cpu.cfs_quota_us"
  (while ! rmdir "$group" 2>/dev/null; do sleep 1; done) <&- >/dev/null 2>&1 & # once QEMU is gone
  echo $$ >"$group/cgroup.procs"
fi
if [ -n "${STOP_MS:-}" ]; then
  qemu=$$
  (
    while sleep "$STOP_EVERY_S" && kill -STOP $qemu 2>/dev/null; do
      sleep "0.0$STOP_MS"
      kill -CONT $qemu
    done
  ) <&- >/dev/null 2>&1 &
fi
exec qemu-system-x86_64 "$@"
