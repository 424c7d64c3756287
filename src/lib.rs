//! Abide keeps image-based Linux machines on systemd-boot bootable through every update.
