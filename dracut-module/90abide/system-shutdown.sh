#!/bin/sh
# systemd-shutdown runs this last in the initramfs. dracut powers off or halts when it gives up; a
# trial must reboot instead.
[ -e /run/abide/trial ] || exit 0
case "$1" in
    poweroff | halt) exec reboot -ff ;;
esac
