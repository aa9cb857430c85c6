#!/bin/sh
# QEMU for record.mjs; the source's gets less than it would need, or the destination drops packets. Needs root.
#
#   QUOTA_US of every PERIOD_US   CPU time of the whole process, by CFS bandwidth control (cgroup v1)
#   SEND_DELAY_US                 each send takes up to so much longer (slow-send.c, gcc); with SLOW_SOCKET=n only on the n-th socket
#   STOP_S, STOP_EVERY_S          stopped altogether for so long, so often, as by something that takes QEMU's locks
#   LOSSY_CONNECTION, LOSS        the n-th connection that the destination gets loses this share of its frames (iptables)
#   POLICE                        the destination drops what exceeds so many packets a second, 60 at once (iptables)
set -eu
case "$*" in *-incoming*)
  if [ -n "${POLICE:-}" ]; then
    iptables -A INPUT -p tcp --dport 49152 -m limit --limit "$POLICE/s" --limit-burst 60 -j ACCEPT
    iptables -A INPUT -p tcp --dport 49152 -j DROP
  fi
  if [ -n "${LOSSY_CONNECTION:-}" ]; then
    iptables -t mangle -A PREROUTING -p tcp --syn --dport 49152 -m statistic --mode nth --every 1000 \
      --packet $((LOSSY_CONNECTION - 1)) -j CONNMARK --set-mark 1
    iptables -A INPUT -m connmark --mark 1 -m statistic --mode random --probability "$LOSS" -j DROP
  fi
  exec qemu-system-x86_64 "$@"
  ;;
esac
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
if [ -n "${STOP_S:-}" ]; then
  qemu=$$
  (
    while sleep "$STOP_EVERY_S" && kill -STOP $qemu 2>/dev/null; do
      sleep "$STOP_S"
      kill -CONT $qemu
    done
  ) <&- >/dev/null 2>&1 &
fi
if [ -n "${SEND_DELAY_US:-}" ]; then
  library=$(mktemp --suffix=.so)
  gcc -O2 -shared -fPIC -o "$library" "$(dirname "$0")/slow-send.c" -ldl
  export LD_PRELOAD="$library"
fi
exec qemu-system-x86_64 "$@"
