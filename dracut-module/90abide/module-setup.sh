#!/bin/bash
# Abide's initramfs stage, for dracut 059 and later and dracut-ng.
#
# It installs:
# - abide-initrd-guard.service: `abide initrd guard`. If the boot loader counted this boot, it ends
#   automatically after a hang or a panic from here on, with or without an ESP.
# - abide-initrd.service: `abide initrd early`. A udev rule starts it as soon as an EFI system
#   partition appears, in parallel to everything else.
# - abide-initrd-root.service: `abide initrd root`, after the root is mounted and before the switch to
#   it.
# - abide-initrd-reboot.service: ends a trial that hangs or fails. Started by the time limit
#   (abide-initrd-timeout.timer), by a failure of one of the units above, and before every emergency
#   shell. Its condition is /run/abide/trial, so a committed boot keeps systemd's and dracut's own
#   behaviour. systemd checks the condition at the start of the unit, so that no unit file has to be
#   written and no daemon-reload is needed in the initramfs.
# - abide-initrd-emergency.service: runs before abide-initrd-reboot.service, because the root may fail
#   before the early stage has ended. `abide initrd emergency` waits for the ESP and determines the
#   kind of this boot, if that is not known.
# - system-shutdown/abide: dracut may power off or halt the machine when it fails. On a trial this
#   becomes a reboot.

# called by dracut
check() {
    # The package that ships this module includes the executable.
    [[ -x ${moddir:?}/abide-initramfs ]] || return 1
    # 255: only on request. dracut.conf.d/90-abide.conf requests it.
    return 255
}

# called by dracut
depends() {
    # By name only: dracut-ng renumbered its modules.
    echo systemd-initrd udev-rules
}

# called by dracut
installkernel() {
    # In host-only mode dracut includes only the drivers that the building machine uses. The drivers for the EFI variables and
    # the ESP are always needed.
    hostonly='' instmods efivarfs vfat nls_cp437 nls_ascii nls_utf8 nls_iso8859-1
    # The kernel stores its last messages there when it panics.
    hostonly='' instmods efi_pstore
    # A trial starts the hardware watchdog. Watchdogs in chipsets need a bus driver that udev does not
    # load automatically.
    hostonly='' instmods '=drivers/watchdog' lpc_ich i2c_i801 i2c_smbus
}

# called by dracut
install() {
    local unit
    # dracut-ng 112 no longer sets all of these.
    local units=${systemdsystemunitdir:-/usr/lib/systemd/system}
    local settings=${systemdsystemconfdir:-/etc/systemd/system}
    local rules=${udevdir:-/usr/lib/udev}/rules.d
    local systemd=${systemdutildir:-/usr/lib/systemd}

    inst_simple "$moddir/abide-initramfs" /usr/bin/abide
    for unit in abide-initrd-guard.service \
        abide-initrd.service abide-initrd-root.service \
        abide-initrd-emergency.service abide-initrd-reboot.service \
        abide-initrd-timeout.timer; do
        inst_simple "$moddir/$unit" "$units/$unit"
    done
    for unit in abide-initrd-guard.service abide-initrd-root.service \
        abide-initrd-timeout.timer; do
        $SYSTEMCTL -q --root "${initdir:?}" add-wants initrd.target "$unit"
    done
    for unit in emergency.service dracut-emergency.service rescue.service; do
        inst_simple "$moddir/emergency-drop-in.conf" \
            "$units/$unit.d/50-abide.conf"
    done
    inst_simple "$moddir/91-abide.rules" "$rules/91-abide.rules"
    inst_simple "$moddir/system-shutdown.sh" "$systemd/system-shutdown/abide"

    # Administrators' drop-ins, for example for the time limit.
    inst_multiple -o \
        "$settings/abide-initrd*.service.d/*.conf" \
        "$settings/abide-initrd-timeout.timer.d/*.conf"
    inst_multiple systemctl modprobe
}
