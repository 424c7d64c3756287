//! Guest images and a typed driver for QEMU/OVMF machines.
