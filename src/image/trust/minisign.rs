//! Signatures of minisign(1).

use minisign_verify::{Error, PublicKey, Signature};

/// A key that may sign images.
#[derive(Debug, Clone)]
pub struct Key {
    /// The file it came from, for messages.
    pub file: String,
    key: PublicKey,
}

/// A key and what it has signed, to be checked once the bytes are known.
#[derive(Clone)]
pub struct Claim {
    key: Key,
    signature: Signature,
}

/// Reads a public key, with or without its comment line.
///
/// # Errors
/// A sentence, if it is none.
pub fn parse_key(file: &str, bytes: &[u8]) -> Result<Key, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is no minisign public key".to_owned())?.trim();
    let key = match text.lines().count() {
        1 => PublicKey::from_base64(text),
        _ => PublicKey::decode(text),
    };
    let key = key.map_err(|e| format!("is no minisign public key: {e}"))?;
    Ok(Key { file: file.to_owned(), key })
}

impl Claim {
    /// Reads a signature and finds the key that it says it is by.
    ///
    /// # Errors
    /// A sentence that says why it cannot count.
    pub fn new(keys: &[Key], signature: &[u8]) -> Result<Self, String> {
        if signature.trim_ascii().is_empty() {
            return Err("is empty".into());
        }
        let text = std::str::from_utf8(signature).map_err(|_| "is no minisign signature".to_owned())?;
        let signature = Signature::decode(text).map_err(|e| match e {
            Error::UnsupportedAlgorithm => "uses an unknown algorithm".to_owned(),
            e => format!("is no minisign signature: {e}"),
        })?;
        for key in keys {
            match key.key.verify_stream(&signature) {
                Ok(_) => return Ok(Self { key: key.clone(), signature }),
                Err(Error::UnsupportedLegacyMode) => {
                    return Err(
                        "is of minisign's old kind; sign with minisign 0.10 or later, or with -H".into()
                    );
                }
                Err(_) => {}
            }
        }
        Err("is by a key that is not among those installed".into())
    }

    /// Who signed.
    #[must_use]
    pub fn signer(&self) -> &str {
        &self.key.file
    }

    /// Starts to check; every byte goes into what is returned, in order.
    ///
    /// # Errors
    /// None that [`Claim::new`] has not had.
    pub fn verifier(&self) -> Result<minisign_verify::StreamVerifier<'_>, Error> {
        self.key.key.verify_stream(&self.signature)
    }

    /// Checks bytes that are all there.
    ///
    /// # Errors
    /// A sentence, if they are not what was signed.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), String> {
        let checked = self.verifier().and_then(|mut verifier| {
            verifier.update(bytes);
            verifier.finalize()
        });
        checked.map_err(|_| "does not fit: the file or its signature was changed".to_owned())
    }
}
