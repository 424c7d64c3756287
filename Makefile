# Build, install and test Abide. `make` alone builds both executables.

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install

# Evaluated once, and only by targets that build: rustup may have to add the target.
TARGET        ?= $(eval TARGET := $$(shell packaging/rust-target))$(TARGET)
# Nothing unwinds: a panic aborts. So the unwind tables and their index are left out, and C code has none.
# The relocations of a static executable are packed (DT_RELR; musl 1.2.4, glibc 2.36, binutils 2.38).
# glibc needs flags of its own, and larger limits than musl.
STATIC_FLAGS   = $(if $(findstring -musl,$(TARGET)),-C link-arg=-Wl$(COMMA)-T$(COMMA)packaging/no-unwind-tables.ld) -C link-arg=-Wl,--no-eh-frame-hdr,-z,pack-relative-relocs $(if $(findstring -gnu,$(TARGET)),-C target-feature=+crt-static) $(SAME_PATHS)

COMMA         := ,

# No executable tells where and by whom it was built.
CRATES        := $(or $(CARGO_HOME),$(HOME)/.cargo)
SAME_PATHS    := --remap-path-prefix=$(CRATES)=/crates --remap-path-prefix=$(CURDIR)=/abide

OUT           := target/out
FULL          := $(OUT)/abide
INITRAMFS     := $(OUT)/abide-initramfs
# Of zstd's compressors those that `abide publish` uses (zstd.h, "ZSTD_EXCLUDE_"): lazy2, of the levels 8 to 12.
ZSTD_FLAGS    := $(foreach kind,DFAST GREEDY LAZY BTLAZY2 BTOPT BTULTRA,-DZSTD_EXCLUDE_$(kind)_BLOCK_COMPRESSOR)
C_FLAGS       := -fno-unwind-tables -fno-asynchronous-unwind-tables -ffile-prefix-map=$(CRATES)=/crates $(ZSTD_FLAGS)
# In bytes. The build fails if an executable reaches its limit.
FULL_MAX      := 6291456
INITRAMFS_MAX  = $(if $(findstring -gnu,$(TARGET)),2097152,1572864)

BINDIR    := $(DESTDIR)$(PREFIX)/bin
UNITDIR   := $(DESTDIR)$(PREFIX)/lib/systemd/system
GENERATORDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system-generators
PRESETDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system-preset
MODULEDIR := $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/90abide
DRACUTCONFDIR := $(DESTDIR)$(PREFIX)/lib/dracut/dracut.conf.d
DOCDIR    := $(DESTDIR)$(PREFIX)/share/doc/abide

SHELL_SCRIPTS = $(shell git ls-files ':!*.md' | xargs -r grep -slE '^\#!/(usr/)?bin/(env )?(ba|da)?sh' -- 2>/dev/null)

.PHONY: all build build-full build-initramfs sbom deps install install-docs lint test soak fuzz demo bench bench-delta fleet clean

all: build

build: build-full build-initramfs

build-full: deps
	RUSTFLAGS="$(STATIC_FLAGS)" CFLAGS="$(C_FLAGS)" $(CARGO) build --quiet --release --locked --target $(TARGET) --package abide
	mkdir -p $(OUT)
	cp -f target/$(TARGET)/release/abide $(FULL)
	@packaging/check-executable $(FULL) $(FULL_MAX)

build-initramfs: deps
	RUSTFLAGS="$(STATIC_FLAGS)" CFLAGS="$(C_FLAGS)" $(CARGO) build --quiet --release --locked --target $(TARGET) --package abide-initramfs
	mkdir -p $(OUT)
	cp -f target/$(TARGET)/release/abide-initramfs $(INITRAMFS)
	@packaging/check-executable $(INITRAMFS) $(INITRAMFS_MAX)

# The bill of materials of each executable, in CycloneDX's form.
sbom:
	mkdir -p $(OUT)
	CARGO="$(CARGO)" packaging/sbom abide $(TARGET) >$(FULL).cdx.json
	CARGO="$(CARGO)" packaging/sbom abide-initramfs $(TARGET) >$(INITRAMFS).cdx.json

# The Debian packages for the build and the tests. Fast if they are installed.
deps:
	@packaging/install-build-deps

# Install what `make` built. It builds nothing, so that it can run as another user. With EMT_SCRIPT=1, Abide takes the
# place of EMT's os-update.sh, too, which carries over users and configuration; Abide's does not.
install: install-docs
	@test -x $(FULL) -a -x $(INITRAMFS) || { echo "install: no executables in $(OUT): run 'make' first" >&2; exit 1; }
	$(INSTALL) -D -m 755 $(FULL) "$(BINDIR)/abide"
	ln -sf abide "$(BINDIR)/os-update-tool.sh"
	@[ -z "$(EMT_SCRIPT)" ] || ln -sf abide "$(BINDIR)/os-update.sh"
	mkdir -p "$(GENERATORDIR)"
	ln -sf ../../../bin/abide "$(GENERATORDIR)/abide-generator"
	$(INSTALL) -D -m 755 dracut-module/90abide/module-setup.sh "$(MODULEDIR)/module-setup.sh"
	$(INSTALL) -m 755 dracut-module/90abide/system-shutdown.sh "$(MODULEDIR)/system-shutdown.sh"
	$(INSTALL) -m 644 $(filter-out %.sh,$(wildcard dracut-module/90abide/*)) "$(MODULEDIR)/"
	$(INSTALL) -m 755 $(INITRAMFS) "$(MODULEDIR)/abide-initramfs"
	$(INSTALL) -D -m 644 dracut-module/90-abide.conf "$(DRACUTCONFDIR)/90-abide.conf"
	@[ ! -d systemd-units ] || find systemd-units -type f ! -name '*.preset' ! -name 'README*' -printf '%P\n' | while read -r unit; do \
		$(INSTALL) -D -m 644 "systemd-units/$$unit" "$(UNITDIR)/$$unit"; \
	done
	@for preset in systemd-units/*.preset; do \
		[ ! -e "$$preset" ] || $(INSTALL) -D -m 644 "$$preset" "$(PRESETDIR)/$${preset##*/}"; \
	done

# Keep folders and pictures, so that the links between the pages work.
install-docs:
	@find *.md LICENSE-* docs -type f | while read -r doc; do \
		$(INSTALL) -D -m 644 "$$doc" "$(DOCDIR)/$$doc"; \
	done
	$(INSTALL) -D -m 644 packaging/abide.toml.example "$(DOCDIR)/abide.toml.example"

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- -D warnings
	@CARGO="$(CARGO)" packaging/initramfs-dead-code
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --log-level error check bans licenses sources; fi
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SHELL_SCRIPTS); else echo "lint: no shellcheck, shell scripts not checked" >&2; fi

# The guests contain what `make install` installs. Tests of servers that are not available are skipped. The release build
# ends with one crate on one processor: it runs beside that of the tests.
test: deps
	-@packaging/install-build-deps packaging/server-deps
	$(MAKE) --no-print-directory build & release=$$!; \
	$(CARGO) test --quiet --locked --workspace --no-run || { wait $$release; exit 1; }; \
	wait $$release
	$(CARGO) test --locked --workspace --no-fail-fast

# Two updates in QEMU/OVMF: one is committed, the kernel of the other one panics.
demo: build
	$(CARGO) run --quiet --locked --package abide-qemu --bin demo

# Slow tests: every row of the failure matrix, power cuts three deep and hundreds of them in virtual
# machines, an image of 8 GiB, the later releases of a feed, machines under hawkBit, days of a hostile network,
# more lives of EMT's nodes.
soak: build
	ABIDE_MATRIX=all ABIDE_MATRIX_WRITE=1 $(CARGO) test --locked --package abide-qemu --test vm matrix::every
	ABIDE_BOUNDS_GIB=8 $(CARGO) test --locked --test bounds
	ABIDE_REPRODUCE=all $(CARGO) test --locked --test supply_chain
	ABIDE_DAYS=30 $(CARGO) test --locked --package abide --test update hostile_day -- --nocapture
	ABIDE_SIMULATOR_DEPTH=3 $(CARGO) test --locked --test simulator
	ABIDE_COST=all $(CARGO) test --locked --package abide-qemu --test vm health:: -- --nocapture
	ABIDE_FEED_LIFE=all $(CARGO) test --locked --package abide-qemu --test vm feed::
	ABIDE_OLDER=1 $(CARGO) test --locked --package abide-qemu --test vm older_abide::
	ABIDE_FLEET=all $(CARGO) test --locked --package abide-qemu --test vm orders::
	ABIDE_EMT=all $(CARGO) test --locked --package abide-qemu --test vm emt_nodes::
	ABIDE_CUTS=200 ABIDE_BOOTS=60 $(CARGO) test --locked --package abide-qemu --test vm crash:: -- --nocapture

# Every parser of external data, each for FUZZ_SECONDS; see docs/contributing/testing.md.
FUZZ_SECONDS ?= 60
fuzz:
	@packaging/install-build-deps packaging/fuzz-deps
	@CARGO="$(CARGO)" FUZZ_SECONDS="$(FUZZ_SECONDS)" fuzz/run

# The speed of Abide and other tools on a loop device; writes docs/explanation/bench.md. Needs root.
bench: build
	@packaging/install-build-deps packaging/bench-deps
	$(CARGO) bench --quiet --locked --profile dev --bench write

# What machines fetch of a new root, with Abide and with other tools; writes docs/explanation/delta.md. Needs root.
bench-delta: build
	@packaging/install-build-deps packaging/bench-delta-deps
	python3 benches/delta/main.py

# Fleets of up to 100 000 machines with a virtual clock; writes the figures in docs/explanation/fleet.md.
fleet: deps
	ABIDE_FLEET=10,1000,100000 ABIDE_FLEET_WRITE=1 $(CARGO) test --locked --test fleet_model the_figures -- --nocapture

clean:
	$(CARGO) clean
