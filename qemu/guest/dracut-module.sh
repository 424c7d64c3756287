#!/bin/bash
# The guest's own dracut module: masks the units that its initramfs does without.

# called by dracut
check() {
	return 255
}

# called by dracut
install() {
	local unit
	while read -r unit; do
		case $unit in '' | '#'*) continue ;; esac
		ln -sfn /dev/null "${initdir:?}/etc/systemd/system/$unit"
	done <"${moddir:?}/mask"
	# A shell script that only repeats what systemd-fstab-generator does with root=PARTUUID.
	rm -f "$initdir/usr/lib/systemd/system-generators/dracut-rootfs-generator"
}
