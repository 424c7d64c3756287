# Build, install and prove Abide. `make` alone builds both executables.

SHELL      := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:

PREFIX  ?= /usr
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install

# Asked for once, and only by what builds: rustup may have to add the target.
TARGET        ?= $(eval TARGET := $$(shell packaging/rust-target))$(TARGET)
# What glibc brings along does not fit into the limits that hold with musl.
STATIC_FLAGS   = $(if $(findstring -gnu,$(TARGET)),-C target-feature=+crt-static)

OUT           := target/out
FULL          := $(OUT)/abide
INITRAMFS     := $(OUT)/abide-initramfs
# Bytes; an executable that reaches its limit fails the build.
FULL_MAX      := 6291456
INITRAMFS_MAX  = $(if $(findstring -gnu,$(TARGET)),2097152,1572864)

BINDIR    := $(DESTDIR)$(PREFIX)/bin
UNITDIR   := $(DESTDIR)$(PREFIX)/lib/systemd/system
PRESETDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system-preset
MODULEDIR := $(DESTDIR)$(PREFIX)/lib/dracut/modules.d/90abide
DRACUTCONFDIR := $(DESTDIR)$(PREFIX)/lib/dracut/dracut.conf.d
DOCDIR    := $(DESTDIR)$(PREFIX)/share/doc/abide

SHELL_SCRIPTS = $(shell git ls-files | xargs -r grep -slE '^\#!/(usr/)?bin/(env )?(ba|da)?sh' -- 2>/dev/null)

.PHONY: all build deps install install-docs lint test soak fuzz demo bench fleet clean

all: build

build: deps
	RUSTFLAGS="$(STATIC_FLAGS)" $(CARGO) build --quiet --release --locked --target $(TARGET) --package abide
	RUSTFLAGS="$(STATIC_FLAGS)" $(CARGO) build --quiet --release --locked --target $(TARGET) --package abide-initramfs
	mkdir -p $(OUT)
	cp -f target/$(TARGET)/release/abide $(FULL)
	cp -f target/$(TARGET)/release/abide-initramfs $(INITRAMFS)
	@packaging/check-executable $(FULL) $(FULL_MAX)
	@packaging/check-executable $(INITRAMFS) $(INITRAMFS_MAX)

# The Debian packages that the build and the tests take; at once when they are there.
deps:
	@packaging/install-build-deps

# Installs what `make` built; builds nothing itself, so that it can run as another user.
install: install-docs
	@test -x $(FULL) -a -x $(INITRAMFS) || { echo "install: no executables in $(OUT): run 'make' first" >&2; exit 1; }
	$(INSTALL) -D -m 755 $(FULL) $(BINDIR)/abide
	ln -sf abide $(BINDIR)/os-update-tool.sh
	ln -sf abide $(BINDIR)/os-update.sh
	$(INSTALL) -D -m 755 dracut-module/90abide/module-setup.sh $(MODULEDIR)/module-setup.sh
	$(INSTALL) -m 755 dracut-module/90abide/system-shutdown.sh $(MODULEDIR)/system-shutdown.sh
	$(INSTALL) -m 644 $(filter-out %.sh,$(wildcard dracut-module/90abide/*)) $(MODULEDIR)/
	$(INSTALL) -m 755 $(INITRAMFS) $(MODULEDIR)/abide-initramfs
	$(INSTALL) -D -m 644 dracut-module/90-abide.conf $(DRACUTCONFDIR)/90-abide.conf
	@[ ! -d systemd-units ] || find systemd-units -type f ! -name '*.preset' ! -name 'README*' -printf '%P\n' | while read -r unit; do \
		$(INSTALL) -D -m 644 "systemd-units/$$unit" "$(UNITDIR)/$$unit"; \
	done
	@for preset in systemd-units/*.preset; do \
		[ ! -e "$$preset" ] || $(INSTALL) -D -m 644 "$$preset" "$(PRESETDIR)/$${preset##*/}"; \
	done

# Folders and pictures stay where they are, so that the links between the pages work.
install-docs:
	@find *.md LICENSE-* docs -type f | while read -r doc; do \
		$(INSTALL) -D -m 644 "$$doc" "$(DOCDIR)/$$doc"; \
	done
	$(INSTALL) -D -m 644 packaging/abide.toml.example $(DOCDIR)/abide.toml.example

lint: deps
	$(CARGO) fmt --all --check
	$(CARGO) clippy --quiet --locked --workspace --all-targets -- -D warnings
	@if command -v shellcheck >/dev/null; then shellcheck -x $(SHELL_SCRIPTS); else echo "lint: no shellcheck, shell scripts not checked" >&2; fi

# The guests are built from what `make install` installs. Without the servers of others their tests are skipped.
test: build
	-@packaging/install-build-deps packaging/server-deps
	$(CARGO) test --locked --workspace --no-fail-fast

# Two updates of a machine under QEMU/OVMF, one that commits and one whose kernel panics.
demo: build
	$(CARGO) run --quiet --locked --package abide-qemu --bin demo

# What takes too long for every day: every row of the matrix of bad systems, power cuts three deep and
# hundreds of them in virtual machines, an image of 8 GiB, a feed's later releases, machines under hawkBit.
soak: build
	ABIDE_MATRIX=all ABIDE_MATRIX_WRITE=1 $(CARGO) test --locked --package abide-qemu --test vm matrix::every
	ABIDE_BOUNDS_GIB=8 $(CARGO) test --locked --test bounds
	ABIDE_SIMULATOR_DEPTH=3 $(CARGO) test --locked --test simulator
	ABIDE_COST=all $(CARGO) test --locked --package abide-qemu --test vm health:: -- --nocapture
	ABIDE_FEED_LIFE=all $(CARGO) test --locked --package abide-qemu --test vm feed::
	ABIDE_FLEET=all $(CARGO) test --locked --package abide-qemu --test vm orders::
	ABIDE_CUTS=200 ABIDE_BOOTS=60 $(CARGO) test --locked --package abide-qemu --test vm crash:: -- --nocapture

# Everything that reads bytes from outside, each for so many seconds; see docs/contributing/testing.md.
FUZZ_SECONDS ?= 60
fuzz:
	@packaging/install-build-deps packaging/fuzz-deps
	@CARGO="$(CARGO)" FUZZ_SECONDS="$(FUZZ_SECONDS)" fuzz/run

# Abide beside its peers on a loop device; see docs/explanation/bench.md. Needs root.
bench: build
	@packaging/install-build-deps packaging/bench-deps
	$(CARGO) bench --quiet --locked --profile dev --bench write

# Fleets of up to 100 000 machines over a virtual clock; see docs/explanation/fleet.md, whose figures it writes.
fleet: deps
	ABIDE_FLEET=10,1000,100000 ABIDE_FLEET_WRITE=1 $(CARGO) test --locked --test fleet_model the_figures -- --nocapture

clean:
	$(CARGO) clean
