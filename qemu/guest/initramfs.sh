# The initramfs; sourced after lib.sh.
# shellcheck shell=bash disable=SC2154 # cache: lib.sh

# build_initramfs NAME [OPTION]...: target/guest/NAME, built in the tree by its own dracut, which is
# given these options beside the guest's settings.
build_initramfs() {
	local name=$1 tree=$cache/tree kernel
	shift
	kernel=$(basename "$tree"/usr/lib/modules/*)
	# shellcheck disable=SC2016 # expanded by the inner shell
	quietly unshare --mount --fork sh -euc '
		tree=$1 kernel=$2
		shift 2
		mount -t proc proc "$tree/proc"
		mount -t tmpfs tmp "$tree/tmp"
		chroot "$tree" env -i PATH=/usr/sbin:/usr/bin dracut --quiet --force --kver "$kernel" "$@" /boot/guest.img
	' - "$tree" "$kernel" "$@"
	# Small, as each update reads, writes and checks it; unpacking costs half a second.
	zstd --quiet --force -12 -T0 "$tree/boot/guest.img" -o "$cache/$name"
	rm -f "$tree/boot/guest.img"
}
