//! Updaters with their own signed bundles.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::image::Published;
use crate::target::Target;

/// Runs a shell script in `dir`; whether it succeeded.
fn sh(dir: &Path, script: &str) -> bool {
    Command::new("sh").args(["-euc", script]).current_dir(dir).output().is_ok_and(|o| o.status.success())
}

/// A key and a certificate that signs itself.
fn key(dir: &Path) -> bool {
    fs::create_dir_all(dir).unwrap();
    sh(
        dir,
        "[ -e key.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=bench \
         -addext extendedKeyUsage=emailProtection,codeSigning -keyout key.pem -out cert.pem",
    )
}

/// A plain bundle, installed through RAUC's service on a message bus of its own.
pub fn rauc(dir: &Path, image: &Published, target: &Target) -> Option<String> {
    let stem = image.raw.file_stem()?.to_str()?;
    let (dir, raw) = (dir.join("rauc"), image.raw.display());
    key(&dir).then_some(())?;
    let here = dir.display();
    let conf = format!(
        "[system]\ncompatible=bench\nbootloader=noop\nmountprefix={here}/mnt\nstatusfile={here}/status\n\
         [keyring]\npath={here}/cert.pem\n[slot.rootfs.0]\ndevice=/dev/null\ntype=raw\nbootname=A\n\
         [slot.rootfs.1]\ndevice={}\ntype=raw\nbootname=B\n",
        target.device.display()
    );
    fs::write(dir.join("system.conf"), conf).ok()?;
    let manifest =
        "[update]\ncompatible=bench\nversion=2\n[bundle]\nformat=plain\n[image.rootfs]\nfilename=root.img\n";
    let made = sh(
        &dir,
        &format!(
            "mkdir -p mnt; [ -e {stem}.raucb ] || {{ rm -rf in; mkdir in; ln {raw} in/root.img; printf '{}' >in/manifest.raucm; \
             rauc --cert cert.pem --key key.pem bundle in {stem}.raucb; rm -rf in; }}",
            manifest.replace('\n', "\\n")
        ),
    );
    made.then(|| {
        format!(
            "dbus-run-session -- sh -c 'export DBUS_SYSTEM_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS; \
             rauc -c {here}/system.conf --override-boot-slot=A service & sleep 0.3; \
             rauc install {here}/{stem}.raucb; rc=$?; kill $!; wait; exit $rc'"
        )
    })
}

/// A signed package with the image packed by zstd.
pub fn swupdate(dir: &Path, image: &Published, target: &Target) -> Option<String> {
    let stem = image.raw.file_stem()?.to_str()?;
    let (dir, zst) = (dir.join("swupdate"), image.zst());
    key(&dir).then_some(())?;
    let sum = image.digest(&zst);
    let description = format!(
        "software = {{ version = \"2.0\"; hardware-compatibility: [ \"1.0\" ]; images: ( {{ filename = \"root.zst\"; type = \"raw\"; compressed = \"zstd\"; \
         device = \"{}\"; sha256 = \"{sum}\"; }} ); }}",
        target.device.display()
    );
    fs::write(dir.join("sw-description"), description).ok()?;
    let made = sh(
        &dir,
        &format!(
            "openssl cms -sign -in sw-description -out sw-description.sig -signer cert.pem -inkey key.pem \
             -outform DER -nosmimecap -binary; ln -f {} root.zst; \
             printf '%s\\n' sw-description sw-description.sig root.zst | cpio -o -H crc >{stem}.swu; rm root.zst",
            zst.display()
        ),
    );
    let here = dir.display();
    made.then(|| format!("swupdate -H bench:1.0 -k {here}/cert.pem -i {here}/{stem}.swu -M -m"))
}
