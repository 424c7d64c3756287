#!/bin/bash
# The harness's own stand-in for the dracut module of Intel's Edge Microvisor Toolkit: opens
# /dev/mapper/rootfs_verity as the node's disk asks for it, with a key file in place of the TPM.

# called by dracut
check() {
	return 255
}

# called by dracut
depends() {
	# dmsetup, and the udev rules of device-mapper
	echo dm
}

# called by dracut
installkernel() {
	hostonly='' instmods dm-mod dm-verity dm-crypt ext4 xts aes_generic sha256_ssse3
}

# called by dracut
install() {
	inst_multiple blkid cryptsetup cut dmsetup grep lsblk mkdir mount umount partx udevadm veritysetup
	inst_simple "${moddir:?}/open" /usr/lib/emt/open
	inst_simple "$moddir/key" /usr/lib/emt/key
	inst_simple "$moddir/emt-root.service" "${systemdsystemunitdir:?}/emt-root.service"
	$SYSTEMCTL -q --root "${initdir:?}" add-wants initrd.target emt-root.service
}
