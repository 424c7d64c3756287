# What Intel's Edge Microvisor Toolkit (EMT) publishes and installs; sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154 # the variables are those of make_parts

# emt_uuid VERSION VARIANT: the UUID of that image's root file system, by which its UKI names it.
emt_uuid() {
	disk_uuid "$1.$2.ext4"
}

# emt_node: for variants; an image as EMT publishes it for its nodes. Every build has the same
# VERSION_ID and there is no IMAGE_VERSION: VERSION and /etc/image-id tell builds apart.
emt_node() {
	root_fs=ext4 root_fs_uuid=$(emt_uuid "$version" "$variant")
	root_word="root=/dev/mapper/rootfs_verity boot_uuid=$root_fs_uuid"
	release=emt_release base=emt_root
	initramfs_options=(--add emt-root)
}

# emt_release VERSION: os-release.
emt_release() {
	cat <<-TEXT
		NAME="Edge Microvisor Toolkit"
		VERSION="$1"
		ID="Edge Microvisor Toolkit"
		VERSION_ID="3.0"
		PRETTY_NAME="Edge Microvisor Toolkit 3.0"
	TEXT
}

# emt_nameless_release VERSION: the same of a distribution whose builds all have the same version.
emt_nameless_release() {
	emt_release 3.0
}

# emt_root DIR: changes the files of the root.
emt_root() {
	local file
	printf 'BUILD_NUMBER=%s\nIMAGE_BUILD_DATE=20260101000000\nIMAGE_UUID=%s\n' "$version" \
		"$(disk_uuid "$version.image")" >"$1/etc/image-id"
	# /dev/mapper and the links of what the initramfs has opened.
	{
		find "$cache/tree/usr/lib/udev/rules.d" -name '*dm*' -printf 'usr/lib/udev/rules.d/%P\n'
		echo usr/sbin/dmsetup
		chroot "$cache/tree" ldd /usr/sbin/dmsetup | sed -n 's,.*=> /\([^ ]*\).*,\1,p' | sed 's,^lib/,usr/lib/,'
	} | while read -r file; do
		[ -e "$1/$file" ] || install -D "$cache/tree/$file" "$1/$file"
	done
	# What lasts is on edge_persistent, which is mounted at /opt; /var is not kept.
	rm -f "$1/etc/fstab" "$1"/etc/abide/{abide.d,keys}
	cat >"$1/etc/fstab" <<-TEXT
		tmpfs /var tmpfs mode=0755,nodev,nosuid 0 0
		LABEL=edge_persistent /opt ext4 nodev,nosuid,noatime,x-systemd.device-timeout=60 0 0
	TEXT
	# A call that commits waits for the checks, which takes longer without KVM.
	sed --in-place=.old '$a\\n[emt]\ncommit_wait = "300s"' "$1/etc/abide/abide.toml"
	rm "$1/etc/abide/abide.toml.old"
	mkdir -p "$1/opt"
	ln -s /opt/abide/abide.d "$1/etc/abide/abide.d"
	ln -s /opt/abide/keys "$1/etc/abide/keys"
}

# emt_encrypt FILE MIB UUID: replaces the file by a LUKS2 container of MIB with its content; the header
# takes 16 of them. In user space: building machines may lack device-mapper.
emt_encrypt() {
	local file=$1 mib=$2 uuid=$3 luks=(--type luks2 --batch-mode --key-file "$here/emt-root/key"
		--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 512)
	truncate -s $(((mib + 16) * MIB)) "$file"
	quietly cryptsetup reencrypt --encrypt --force-offline-reencrypt --reduce-device-size 32M \
		"${luks[@]}" --uuid "$uuid" "$file"
	truncate -s $((mib * MIB)) "$file"
}

# emt_empty FILE MIB UUID: a LUKS2 container that nothing was written to.
emt_empty() {
	truncate -s $(($2 * MIB)) "$1"
	quietly cryptsetup luksFormat --type luks2 --batch-mode --key-file "$here/emt-root/key" \
		--pbkdf pbkdf2 --pbkdf-force-iterations 1000 --sector-size 512 --uuid "$3" "$1"
}
