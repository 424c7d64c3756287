#!/bin/sh
# Run by systemd-shutdown in the initramfs, as its last act. dracut powers off or halts when
# it gives up; a trial must come back by itself.
[ -e /run/abide/trial ] || exit 0
case "$1" in
    poweroff | halt) exec reboot -ff ;;
esac
