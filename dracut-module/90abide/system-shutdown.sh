#!/bin/sh
# systemd-shutdown runs this as the last step in the initramfs. dracut powers off or halts the machine
# when it fails; on a trial, the machine must reboot instead.
[ -e /run/abide/trial ] || exit 0
case "$1" in
    poweroff | halt) exec reboot -ff ;;
esac
