//! Signatures of minisign(1).

use std::time::SystemTime;

use minisign_verify::{Error, PublicKey, Signature};

use crate::image::trust::signer::{Signer, refuse_future};

/// A key that may sign images.
#[derive(Debug, Clone)]
pub struct Key {
    /// The file it came from, for messages.
    pub file: String,
    key: PublicKey,
    /// The public key as text, without its comment.
    text: String,
}

/// A signature and the installed key that it names, to be checked once the signed bytes are read.
#[derive(Clone)]
pub struct Claim {
    key: Key,
    signature: Signature,
}

/// Reads a public key, with or without its comment line.
///
/// # Errors
/// A sentence, if it is not one.
pub fn parse_key(file: &str, bytes: &[u8]) -> Result<Key, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is not a minisign public key".to_owned())?.trim();
    let key = match text.lines().count() {
        1 => PublicKey::from_base64(text),
        2 => PublicKey::decode(text),
        _ => return Err("holds more than one minisign public key; give each its file".into()),
    };
    let key = key.map_err(|e| format!("is not a minisign public key: {e}"))?;
    let text = text.lines().last().unwrap_or_default().trim().to_owned();
    Ok(Key { file: file.to_owned(), key, text })
}

impl Key {
    /// The public key as text, without its comment.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Claim {
    /// Reads a signature and finds its key among `keys`.
    ///
    /// # Errors
    /// A sentence with the reason why it is invalid.
    pub fn new(keys: &[Key], signature: &[u8]) -> Result<Self, String> {
        if signature.trim_ascii().is_empty() {
            return Err("is empty".into());
        }
        let text = std::str::from_utf8(signature).map_err(|_| "is not a minisign signature".to_owned())?;
        let signature = Signature::decode(text).map_err(|e| match e {
            Error::UnsupportedAlgorithm => "uses an unknown algorithm".to_owned(),
            e => format!("is not a minisign signature: {e}"),
        })?;
        for key in keys {
            match key.key.verify_stream(&signature) {
                Ok(_) => return Ok(Self { key: key.clone(), signature }),
                Err(Error::UnsupportedLegacyMode) => {
                    return Err(
                        "has minisign's legacy format; sign with minisign 0.10 or later, or with -H".into()
                    );
                }
                Err(_) => {}
            }
        }
        Err("was made by a key that is not installed".into())
    }

    /// Who signed, and when, by the trusted comment that minisign writes unless it is told another one. Valid once the
    /// signature is verified: the comment is signed, too.
    #[must_use]
    pub fn signer(&self) -> Signer {
        let comment = self.signature.trusted_comment();
        let time = comment.split_whitespace().find_map(|word| word.strip_prefix("timestamp:")?.parse().ok());
        Signer { key: self.key.text.clone(), file: self.key.file.clone(), time }
    }

    /// Starts to verify; the returned verifier takes every byte, in order.
    ///
    /// # Errors
    /// None: [`Claim::new`] has checked the signature's format.
    pub fn verifier(&self) -> Result<minisign_verify::StreamVerifier<'_>, Error> {
        self.key.key.verify_stream(&self.signature)
    }

    /// Verifies bytes that are in memory.
    ///
    /// # Errors
    /// A sentence, if the signature does not match or was made in the future.
    pub fn verify(&self, bytes: &[u8], now: SystemTime) -> Result<Signer, String> {
        let checked = self.verifier().and_then(|mut verifier| {
            verifier.update(bytes);
            verifier.finalize()
        });
        checked.map_err(|_| "does not match: the file or the signature was changed".to_owned())?;
        self.refuse_future(now)?;
        Ok(self.signer())
    }

    /// Refuses a signature that was made in the future.
    ///
    /// # Errors
    /// A sentence.
    pub fn refuse_future(&self, now: SystemTime) -> Result<(), String> {
        self.signer().time.map_or(Ok(()), |time| refuse_future(time, now))
    }
}
