//! Keys, signed executables and signature lists as firmware has them, made by openssl and sbsign.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256, Sha384};

use crate::process::{Run, program};
use crate::tree::Tree;

const X509: &str = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072";
const SHA256: &str = "c1c41626-504c-4092-aca9-41f936934328";
const X509_SHA256: &str = "3bd2a492-96c0-4079-b420-fcf98ef103ed";
const X509_SHA384: &str = "7076876e-80c2-4ee6-aad2-28b349a6865b";

const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
const DATABASE: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const SHIM: &str = "605dab50-e046-4300-abb6-3dd810dd8b23";

/// Keys with their certificates, by name. The name is the certificate's common name.
pub struct Keys {
    dir: tempfile::TempDir,
}

impl Keys {
    /// Self-signed certificates of these names.
    pub fn new(names: &[&str]) -> Self {
        let keys = Self { dir: tempfile::tempdir().unwrap() };
        for name in names {
            keys.openssl(&format!(
                "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /O=Test/CN={name} -keyout {name}.key -out {name}.crt"
            ));
        }
        keys
    }

    /// A certificate that the key `by` has issued, and that may issue others.
    pub fn issue(&self, name: &str, by: &str) {
        self.issue_with(name, by, "basicConstraints=critical,CA:TRUE\n");
    }

    /// The same with these extensions.
    pub fn issue_with(&self, name: &str, by: &str, extensions: &str) {
        fs::write(self.path("extensions"), extensions).unwrap();
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.sign_certificate(name, by, "sha512");
    }

    /// A certificate that a key of 1024 bits, `by`, has issued with this hash.
    pub fn issue_by_short(&self, name: &str, by: &str, hash: &str) {
        self.openssl(&format!(
            "req -x509 -newkey rsa:1024 -nodes -days 3650 -subj /O=Test/CN={by} -keyout {by}.key -out {by}.crt"
        ));
        fs::write(self.path("extensions"), "basicConstraints=critical,CA:TRUE\n").unwrap();
        self.openssl(&format!(
            "req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        self.sign_certificate(name, by, hash);
    }

    fn sign_certificate(&self, name: &str, by: &str, hash: &str) {
        self.openssl(&format!(
            "x509 -req -{hash} -days 3650 -in {name}.csr -CA {by}.crt -CAkey {by}.key -CAcreateserial -extfile extensions -out {name}.crt"
        ));
    }

    /// Signs an executable. The certificates `others` come with it.
    pub fn sign(&self, name: &str, others: &[&str], executable: &[u8]) -> Vec<u8> {
        let path = |name: &str| self.path(name);
        fs::write(path("in"), executable).unwrap();
        let mut command = program("sbsign");
        command
            .arg("--key")
            .arg(path(&format!("{name}.key")))
            .arg("--cert")
            .arg(path(&format!("{name}.crt")));
        for other in others {
            command.arg("--addcert").arg(path(&format!("{other}.crt")));
        }
        Run::of(command.arg("--output").arg(path("out")).arg(path("in"))).ok();
        fs::read(path("out")).unwrap()
    }

    pub fn certificate(&self, name: &str) -> Vec<u8> {
        self.openssl(&format!("x509 -in {name}.crt -outform DER -out {name}.der"));
        fs::read(self.path(&format!("{name}.der"))).unwrap()
    }

    /// The list of a certificate.
    pub fn list(&self, name: &str) -> Vec<u8> {
        signature_list(X509, &self.certificate(name))
    }

    /// The list that revokes a certificate by the hash of its signed part.
    pub fn revoking(&self, name: &str, sha384: bool, time: u8) -> Vec<u8> {
        self.openssl(&format!("asn1parse -in {name}.crt -strparse 4 -noout -out {name}.tbs"));
        let signed = fs::read(self.path(&format!("{name}.tbs"))).unwrap();
        let hash = if sha384 { Sha384::digest(&signed).to_vec() } else { Sha256::digest(&signed).to_vec() };
        let kind = if sha384 { X509_SHA384 } else { X509_SHA256 };
        signature_list(kind, &[&hash[..], &[time; 16]].concat())
    }

    /// The value of a variable with this list, as the key `by` signs it, with its attributes in front.
    pub fn variable(&self, by: &str, variable: &str, list: &[u8]) -> Vec<u8> {
        fs::write(self.path("list"), list).unwrap();
        let attributes =
            "NON_VOLATILE,BOOTSERVICE_ACCESS,RUNTIME_ACCESS,TIME_BASED_AUTHENTICATED_WRITE_ACCESS";
        let (key, certificate) = (self.path(&format!("{by}.key")), self.path(&format!("{by}.crt")));
        let mut command = program("sbvarsign");
        command
            .args(["--include-attrs", "--attr", attributes, "--key"])
            .arg(key)
            .arg("--cert")
            .arg(certificate);
        command.arg("--output").arg(self.path("variable")).arg(variable).arg(self.path("list"));
        Run::of(&mut command).ok();
        fs::read(self.path("variable")).unwrap()
    }

    fn openssl(&self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        Run::of(program("openssl").args(&words).current_dir(self.dir.path())).ok();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// The list of the digest of an executable that is not signed.
pub fn digest_list(executable: &[u8]) -> Vec<u8> {
    let pe = usize::from(executable[0x3c]);
    // Without the checksum and the entry of the table of signatures.
    let (checksum, directory) = (pe + 24 + 64, pe + 24 + 112 + 4 * 8);
    let parts = [&executable[..checksum], &executable[checksum + 4..directory], &executable[directory + 8..]];
    signature_list(SHA256, &Sha256::digest(parts.concat()))
}

/// An `EFI_SIGNATURE_LIST` with one signature.
fn signature_list(kind: &str, data: &[u8]) -> Vec<u8> {
    let kind = uuid::Uuid::try_parse(kind).unwrap().to_bytes_le();
    let each = u32::try_from(16 + data.len()).unwrap();
    let words = [28 + each, 0, each].map(u32::to_le_bytes);
    [&kind[..], words.as_flattened(), &[0x77; 16], data].concat()
}

/// Sets a variable of the firmware or of shim.
pub fn set(tree: &Tree, name: &str, data: &[u8]) {
    let vendor = match name {
        "SecureBoot" | "SetupMode" => GLOBAL,
        "db" | "dbx" => DATABASE,
        _ => SHIM,
    };
    let path = tree.path(&format!("sys/firmware/efi/efivars/{name}-{vendor}"));
    fs::write(path, [&[6, 0, 0, 0], data].concat()).unwrap();
}
