# The parts of a version: its root and its UKI; sourced after lib.sh and initramfs.sh.
# shellcheck shell=bash disable=SC2154 # here and cache: lib.sh

# Kernel settings of every version. `panic=` is what a machine needs that must come back by
# itself; the rest is for speed without KVM. The largest is norandmaps: translated code is kept by
# address, and a third of the whole boot is translating shared libraries again for each process.
base_cmdline='console=ttyS0 quiet panic=1 ro fsck.mode=skip net.ifnames=0'
base_cmdline+=' systemd.show_status=false systemd.gpt_auto=0'
base_cmdline+=' norandmaps nokaslr mitigations=off init_on_alloc=0 randomize_kstack_offset=off hardened_usercopy=off'
base_cmdline+=' audit=0 lsm=capability random.trust_cpu=on cryptomgr.notests tsc=reliable no_timer_check'
base_cmdline+=' rcupdate.rcu_expedited=1 udev.children_max=2'
# Self-tests of random number generators.
base_cmdline+=' initcall_blacklist=jent_mod_init,crypto_kdf108_init,init_encrypted'

# os_release VERSION: the os-release of that version, on stdout.
os_release() {
	cat <<-TEXT
		NAME=Edge
		ID=edge
		VERSION_ID=$1
		IMAGE_ID=edge
		IMAGE_VERSION=$1
		PRETTY_NAME="Edge $1"
	TEXT
}

# make_root TYPE UUID DIR FILE: a file system of that type with what is in DIR.
make_root() {
	case $1 in
	erofs)
		mkfs.erofs --quiet -zlz4 -T 1767225600 -U "$2" "$4" "$3" 2>/dev/null
		truncate -s "$(($(mib "$4") * MIB))" "$4"
		;;
	ext4)
		# The tables take some more than a tenth.
		truncate -s "$(($(du -sm --apparent-size "$3" | cut -f1) * 9 / 8))M" "$4"
		mke2fs -q -t ext4 -b 4096 -m 0 -O ^has_journal,^resize_inode -N 16384 -L rootfs -U "$2" \
			-E "root_owner=0:0,hash_seed=$2" -d "$3" "$4"
		;;
	esac
}

# make_parts VERSION VARIANT DIR: DIR/root and DIR/uki.efi. The variant's file
# is sourced; it may define
#   variant_root DIR    changes the root's files: by replacing them, as they are links into the cache
#   variant_initrd DIR  puts files into DIR, unpacked over the initramfs
#   variant_uki FILE    damages the finished UKI
#   variant_erofs FILE  damages the finished root
# and set `cmdline` (appended), `release_version` (in the root's os-release), `initramfs_options`
# (for dracut: an initramfs of its own), `verity` (DIR/root.verity holds the root's hashes, and the UKI
# names their root hash), `root_fs` and `root_fs_uuid` (of the root's file system), `root_word` (by which the
# UKI names it), `release` (prints its os-release) and `base` (changes the root's files before variant_root).
make_parts() {
	local version=$1 variant=$2 dir=$3 cmdline='' release_version=$1 verity='' initramfs_options=()
	local root_fs=erofs root_word='' release=os_release base=true root_fs_uuid
	root_fs_uuid=$(disk_uuid "$version.$variant.erofs")
	root_word=root=PARTUUID=$(root_uuid "$version" "$variant")
	# shellcheck source=/dev/null
	. "$here/variants/$variant"

	cp -al "$cache/root" "$dir/tree"
	rm -f "$dir/tree/usr/lib/os-release"
	"$release" "$release_version" >"$dir/tree/usr/lib/os-release"
	"$base" "$dir/tree"
	if declare -F variant_root >/dev/null; then variant_root "$dir/tree"; fi
	make_root "$root_fs" "$root_fs_uuid" "$dir/tree" "$dir/root"
	if declare -F variant_erofs >/dev/null; then variant_erofs "$dir/root"; fi

	local initrd=$cache/initramfs.img of
	if [ ${#initramfs_options[@]} != 0 ]; then
		of=initramfs$(printf -- '-%s' "${initramfs_options[@]//[^a-z-]/}")
		initrd=$cache/$of.img
		if ! cached "$of" "$root_key"; then
			build_initramfs "$of.img" "${initramfs_options[@]}"
			finished "$of" "$root_key"
		fi
	fi
	if [ -n "$verity" ]; then
		root_word=roothash=$(veritysetup format --salt=- --uuid="$(disk_uuid "$version.$variant.verity")" \
			"$dir/root" "$dir/root.verity" | sed -n 's/^Root hash:[[:blank:]]*//p')
	fi
	if declare -F variant_initrd >/dev/null; then
		mkdir "$dir/initrd"
		variant_initrd "$dir/initrd"
		(cd "$dir/initrd" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc) >"$dir/extra.cpio"
		# The kernel takes an archive only where it begins at a multiple of four bytes.
		cp "$initrd" "$dir/initramfs.img"
		truncate -s %4 "$dir/initramfs.img"
		cat "$dir/extra.cpio" >>"$dir/initramfs.img"
		initrd=$dir/initramfs.img
	fi
	"$release" "$version" >"$dir/osrel"
	echo -n "$root_word rootfstype=$root_fs $base_cmdline $cmdline" >"$dir/cmdline"
	cp "$cache/kernel-release" "$dir/uname"
	make_uki "$dir/uki.efi" .osrel "$dir/osrel" .cmdline "$dir/cmdline" .uname "$dir/uname" \
		.initrd "$initrd" .linux "$cache/vmlinuz"
	if declare -F variant_uki >/dev/null; then variant_uki "$dir/uki.efi"; fi
}

# no_time_limit DIR: for variants; a trial is not ended by its time in the initramfs, so that
# something else has to.
no_time_limit() {
	local dropin=$1/etc/systemd/system/abide-initrd-timeout.timer.d
	mkdir -p "$dropin"
	printf '[Timer]\nOnActiveSec=\nOnActiveSec=1h\n' >"$dropin/variant.conf"
}

# make_uki FILE [SECTION CONTENT]...: systemd's stub with these sections behind its own,
# each at the next aligned address. The kernel goes last: it may grow when it unpacks.
make_uki() {
	local file=$1 stub=$cache/linuxx64.efi.stub align next arguments=()
	shift
	align=$((16#$(objdump -p "$stub" | awk '$1 == "SectionAlignment" { print $2 }')))
	next=$(objdump -h "$stub" | awk 'NF == 7 { size = $3; address = $4 } END { print "0x" size " + 0x" address }')
	while [ $# -gt 0 ]; do
		next=$(((next + align - 1) / align * align))
		arguments+=(--add-section "$1=$2" --change-section-vma "$1=$next" --set-section-flags "$1=data,readonly")
		next=$((next + $(stat -L -c %s "$2")))
		shift 2
	done
	objcopy "${arguments[@]}" "$stub" "$file"
}

# make_esp DISK MIB SECTORS-PER-CLUSTER: an ESP of that size at 1 MiB in the disk, with the
# loader in both places.
make_esp() {
	mkfs.fat -F 32 -s "$3" -S 512 -n ESP --offset 2048 -i 0ab1de00 --invariant "$1" $(($2 * 1024)) >/dev/null 2>&1
	mmd -i "$1@@1M" ::EFI ::EFI/BOOT ::EFI/systemd ::EFI/Linux ::loader ::loader/entries
	mcopy -i "$1@@1M" "$cache/systemd-bootx64.efi" ::EFI/BOOT/BOOTX64.EFI
	mcopy -i "$1@@1M" "$cache/systemd-bootx64.efi" ::EFI/systemd/systemd-bootx64.efi
	echo 'timeout 0' | mcopy -i "$1@@1M" - ::loader/loader.conf
	echo 'type1' | mcopy -i "$1@@1M" - ::loader/entries.srel
}
