//! The digest of the image in a file that may carry a signature in front.

use std::io::{self, Write};

use crate::image::sha256::Sha256;
use crate::image::trust::carried::{Carried, MOST_FRAME};

/// A SHA-256 that is being computed: of the whole file, or of what follows the signature that it carries, if that lists the
/// wanted digest. In both cases only the right bytes have the wanted digest.
#[derive(Clone)]
pub struct ImageDigest {
    wanted: String,
    /// The first bytes, as long as they may be a part of a signature.
    head: Vec<u8>,
    sha256: Option<Sha256>,
}

impl ImageDigest {
    /// Starts to compute the digest of an image whose digest should be `wanted`.
    #[must_use]
    pub fn new(wanted: &str) -> Self {
        Self { wanted: wanted.to_owned(), head: vec![], sha256: None }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(bytes);
            return;
        }
        self.head.extend_from_slice(bytes);
        if self.head.len() >= MOST_FRAME {
            self.sha256 = Some(self.of_head());
            self.head = vec![];
        }
    }

    /// The digest so far, in lower-case hexadecimal.
    #[must_use]
    pub fn finish(&self) -> String {
        self.sha256.clone().unwrap_or_else(|| self.of_head()).finish()
    }

    fn of_head(&self) -> Sha256 {
        let carried = Carried::read(&mut self.head.as_slice()).ok().flatten();
        let skip = carried.filter(|carried| carried.lists(&self.wanted)).map_or(0, |carried| carried.len);
        let image = usize::try_from(skip).ok().and_then(|skip| self.head.get(skip..));
        let mut sha256 = Sha256::default();
        sha256.update(image.unwrap_or(&self.head));
        sha256
    }
}

impl Write for ImageDigest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::sha256::of_bytes;

    #[test]
    fn the_digest_is_of_the_bytes_of_which_it_is_listed() {
        for len in [0, 10, MOST_FRAME, 200_000] {
            let image: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let inner = of_bytes(&image);
            let content = format!("abide-signature 1\n{inner}  edge_2.0.raw.zst\n");
            let head = [b"P*M\x18", &u32::try_from(content.len()).unwrap().to_le_bytes()[..]].concat();
            let file = [&head[..], content.as_bytes(), &image].concat();
            let outer = of_bytes(&file);
            let digest = |wanted: &str, step: usize| {
                let mut digest = ImageDigest::new(wanted);
                file.chunks(step).for_each(|part| digest.update(part));
                digest.finish()
            };
            for step in [7, 64 << 10, 1 << 20] {
                assert_eq!(digest(&inner, step), inner);
                assert_eq!(digest(&outer, step), outer);
                assert_eq!(digest("other", step), outer);
            }
        }
    }
}
