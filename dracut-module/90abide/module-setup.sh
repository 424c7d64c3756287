#!/bin/bash
# Abide's initramfs stage, for dracut 059 and later and dracut-ng.
#
# What is installed, and how it plays together:
# - abide-initrd.service: `abide initrd early`. A udev rule starts it as soon as an
#   EFI system partition shows up, beside everything else that goes on.
# - abide-initrd-root.service: `abide initrd root`, between the mounting of the root
#   and the switch to it.
# - abide-initrd-reboot.service: ends a trial that got stuck. Started by the time limit
#   (abide-initrd-timeout.timer), by a failure of one of the units above and ahead
#   of every emergency shell. It acts only when there is a
#   /run/abide/trial, so that a committed boot is never stopped: that keeps systemd's and
#   dracut's own behaviour. The condition is looked at when the unit is started; no
#   unit file is written and no daemon-reload is needed in the initramfs.
# - abide-initrd-emergency.service: ahead of that one, as the root may fail before the early
#   stage has left its finding: `abide initrd emergency` waits for the ESP and
#   finds out what this boot is, where that is not known.
# - system-shutdown/abide: dracut may power off or halt when it gives up; on a trial
#   that becomes a reboot, too.

# called by dracut
check() {
    # The executable is a part of the package that ships this module.
    [[ -x ${moddir:?}/abide-initramfs ]] || return 1
    # 255: only when asked for. dracut.conf.d/90-abide.conf asks.
    return 255
}

# called by dracut
depends() {
    # By name only: dracut-ng renumbered its modules.
    echo systemd-initrd udev-rules
}

# called by dracut
installkernel() {
    # Host-only mode looks at what the building machine uses. What reads the EFI
    # variables and the ESP is always needed.
    hostonly='' instmods efivarfs vfat nls_cp437 nls_ascii nls_utf8 nls_iso8859-1
    # Where a kernel that panics leaves its last lines.
    hostonly='' instmods efi_pstore
    # A trial arms the hardware watchdog. The chipsets' ones hang below a bus driver
    # that no device of its own asks for.
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
    for unit in abide-initrd.service abide-initrd-root.service \
        abide-initrd-emergency.service abide-initrd-reboot.service \
        abide-initrd-timeout.timer; do
        inst_simple "$moddir/$unit" "$units/$unit"
    done
    for unit in abide-initrd-root.service abide-initrd-timeout.timer; do
        $SYSTEMCTL -q --root "${initdir:?}" add-wants initrd.target "$unit"
    done
    for unit in emergency.service dracut-emergency.service rescue.service; do
        inst_simple "$moddir/emergency-drop-in.conf" \
            "$units/$unit.d/50-abide.conf"
    done
    inst_simple "$moddir/91-abide.rules" "$rules/91-abide.rules"
    inst_simple "$moddir/system-shutdown.sh" "$systemd/system-shutdown/abide"

    # Administrators' drop-ins, the time limit for instance.
    inst_multiple -o \
        "$settings/abide-initrd*.service.d/*.conf" \
        "$settings/abide-initrd-timeout.timer.d/*.conf"
    inst_multiple systemctl modprobe
}
