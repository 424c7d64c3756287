//! A publisher with the real gpg, minisign and sha256sum.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::*;

/// A place where an image is published, with the tools to sign it.
pub struct Publisher {
    dir: tempfile::TempDir,
}

impl Publisher {
    pub fn new() -> Self {
        let it = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(it.path("gpg")).unwrap();
        fs::create_dir(it.path("out")).unwrap();
        std::os::unix::fs::chown(it.path("gpg"), None, None).unwrap();
        fs::set_permissions(it.path("gpg"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(it.path("out/edge.raw"), Image::new("2.0", "b").bytes()).unwrap();
        it
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn image(&self) -> String {
        self.path("out/edge.raw").to_str().unwrap().to_owned()
    }

    pub fn run(&self, name: &str, args: &[&str]) {
        let status = program(name)
            .args(args)
            .current_dir(self.path("out"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{name} {args:?}");
    }

    pub fn gpg(&self, args: &[&str]) {
        let home = self.path("gpg");
        let fixed = ["--homedir", home.to_str().unwrap(), "--batch", "--yes", "--passphrase", "", "--quiet"];
        self.run("gpg", &[&fixed[..], args].concat());
    }

    /// A new key `user`, exported to `FILE`.
    pub fn key(&self, user: &str, kind: &str, expire: &str, more: &[&str]) -> PathBuf {
        self.gpg(&[more, &["--quick-generate-key", user, kind, "sign", expire]].concat());
        let file = self.path(&format!("{user}.gpg"));
        self.gpg(&["--output", file.to_str().unwrap(), "--export", user]);
        file
    }

    pub fn sums(&self) {
        self.run("sh", &["-c", "sha256sum edge.raw > SHA256SUMS"]);
    }

    pub fn sign(&self, user: &str, more: &[&str]) {
        self.gpg(
            &[more, &["-u", user, "--output", "SHA256SUMS.gpg", "--detach-sign", "SHA256SUMS"]].concat(),
        );
    }

    pub fn minisign_key(&self, name: &str) -> PathBuf {
        let (public, secret) = (self.path(&format!("{name}.pub")), self.path(&format!("{name}.key")));
        self.run(
            "minisign",
            &["-G", "-W", "-f", "-p", public.to_str().unwrap(), "-s", secret.to_str().unwrap()],
        );
        public
    }

    pub fn minisign(&self, name: &str, file: &str) {
        self.minisign_with(name, file, &[]);
    }

    pub fn minisign_with(&self, name: &str, file: &str, more: &[&str]) {
        let secret = self.path(&format!("{name}.key"));
        self.run("minisign", &[&["-S", "-s", secret.to_str().unwrap(), "-m", file], more].concat());
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let home = self.path("gpg");
        let kill = ["--homedir", home.to_str().unwrap(), "--kill", "all"];
        program("gpgconf").args(kill).stderr(Stdio::null()).status().unwrap();
    }
}

pub fn install(tree: &Tree, key: &Path, place: &str) {
    let place = tree.path(place);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::copy(key, place).unwrap();
}

pub fn configure(tree: &Tree, text: &str) {
    fs::create_dir_all(tree.path("etc/abide")).unwrap();
    fs::write(tree.path("etc/abide/abide.toml"), text).unwrap();
}

/// Refused before anything was changed, with these words.
#[track_caller]
pub fn unverified(tree: &Tree, image: &str, words: &str) {
    let run = tree.abide(&["write", image]).fails(7);
    assert!(run.stderr.contains(words), "{}", run.stderr);
    assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
    untouched(tree);
}

#[track_caller]
pub fn accepted(tree: &Tree, image: &str) {
    tree.abide(&["write", image]).ok();
    staged(tree, &Image::new("2.0", "b"), &Image::new("2.0", "b").bytes());
}
