//! An image that was opened far enough to be judged.

use std::io::{Read, Seek};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::boot::uki;
use crate::config::Download;
use crate::error::{Error, OrError, Result};
use crate::hex;
use crate::image::trust::Expected;
use crate::image::{Esp, HEAD, Kind, Layout, Partition, Source, Spool, Stream};
use crate::state;

/// What there is to know about an image before any of it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Bytes of its root.
    pub root_len: u64,
    /// The architecture that the type of its root partition stands for.
    pub root_arch: Option<&'static str>,
    /// Whether it has dm-verity hashes.
    pub has_verity: bool,
    /// What its UKI says.
    pub uki: uki::Uki,
    /// Bytes of its UKI.
    pub uki_size: u64,
}

/// An image whose partition table was read and whose ESP is kept aside.
pub struct Opened {
    name: String,
    layout: Layout,
    esp: Partition,
    root: Partition,
    stream: Stream,
    kept: Option<Esp>,
    spool_dirs: Vec<PathBuf>,
    sha256: Option<String>,
}

impl Opened {
    /// Reads up to the end of the ESP. Where the root comes first in an image, a plain
    /// file is read twice; anything else cannot be.
    pub fn open(
        image: &str,
        download: &Download,
        spool_dirs: &[PathBuf],
        expected: Expected,
    ) -> Result<Self> {
        let Expected { sha256, claim } = expected;
        let source = Source::open(image, download)?;
        let (name, repeatable) = (source.name.clone(), source.repeatable);
        let mut stream = Stream::open(source, claim.clone())?;
        let (layout, kept, twice) = match Self::look(&mut stream, repeatable, spool_dirs) {
            Ok(Some(found)) => found,
            Ok(None) => {
                return Err(Error::Image(format!(
                    "{name}: its root comes before its EFI system partition, so it cannot be written in one \
                     pass; download it and give the file, or put the EFI system partition first"
                )));
            }
            Err(e) => return Err(stream.or_changed(e, sha256.as_deref())),
        };
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?.clone());
        if twice {
            stream = Stream::open(Source::open(image, download)?, claim)?;
            if Layout::parse(stream.peek(HEAD)?, &name)? != layout {
                return Err(changed(&name));
            }
        }
        Ok(Self {
            name,
            layout,
            esp,
            root,
            stream,
            kept: Some(kept),
            spool_dirs: spool_dirs.to_vec(),
            sha256,
        })
    }

    /// The layout, the ESP, and whether the root lies before it; none if that would take a second reading
    /// that cannot be had.
    fn look(
        stream: &mut Stream,
        repeatable: bool,
        spool_dirs: &[PathBuf],
    ) -> Result<Option<(Layout, Esp, bool)>> {
        let name = stream.name().to_owned();
        let layout = Layout::parse(stream.peek(HEAD)?, &name)?;
        let (esp, root) = (layout.esp(&name)?.clone(), layout.root(&name)?);
        let twice = root.start < esp.start;
        if twice && !repeatable {
            return Ok(None);
        }
        let kept = keep(stream, &esp, spool_dirs)?;
        Ok(Some((layout, kept, twice)))
    }

    /// What to call it in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn described(&self) -> Result<Described> {
        let esp = self.kept()?;
        let uki = uki::read(self.uki()?)
            .or_image(|| format!("{}: its UKI {} cannot be read", self.name, esp.uki_path()))?;
        Ok(Described {
            root_len: self.root.len,
            root_arch: match self.root.kind {
                Kind::Root(arch) => Some(arch),
                _ => None,
            },
            has_verity: self.layout.has_verity(),
            uki,
            uki_size: esp.uki_size(),
        })
    }

    /// The UKI's bytes.
    pub fn uki(&self) -> Result<impl Read + Seek + '_> {
        self.kept()?.uki()
    }

    fn kept(&self) -> Result<&Esp> {
        self.kept.as_ref().ok_or_else(|| Error::Failed("the image's UKI is gone already".into()))
    }

    /// Gives the memory back that the UKI takes.
    pub fn forget_uki(&mut self) {
        self.kept = None;
    }

    pub fn root_len(&self) -> u64 {
        self.root.len
    }

    /// The root's bytes, as [`crate::disk::overwrite::overwrite`] wants them.
    pub fn root(&mut self) -> Result<impl FnMut(&mut [u8]) -> Result<()> + '_> {
        self.stream.skip_to(self.root.start)?;
        let (stream, end) = (&mut self.stream, self.root.end());
        Ok(move |to: &mut [u8]| stream.fill_all(to, end))
    }

    /// Reads to the end and gives the SHA-256 of the published bytes, which must be the expected one.
    /// What was staged must be the UKI that those bytes hold.
    pub fn finish(mut self, staged: &state::Uki) -> Result<String> {
        if let Err(e) = self.read_rest(staged) {
            return Err(self.stream.or_changed(e, self.sha256.as_deref()));
        }
        self.stream.verified(self.sha256.as_deref())
    }

    /// The error, unless the published bytes are not those that were expected: then that is the error.
    pub fn or_changed(self, error: Error) -> Error {
        self.stream.or_changed(error, self.sha256.as_deref())
    }

    fn read_rest(&mut self, staged: &state::Uki) -> Result<()> {
        if self.root.start < self.esp.start {
            let again = keep(&mut self.stream, &self.esp, &self.spool_dirs)?;
            if sha256(&mut again.uki()?).or_image(|| format!("{}: cannot read", self.name))? != *staged {
                return Err(changed(&self.name));
            }
        }
        // Without a digest, damage in the rest is noticed only by decoding it.
        if self.sha256.is_none() { self.stream.decode_rest(self.layout.disk_len) } else { Ok(()) }
    }
}

/// Keeps the ESP; `stream` must not be past its beginning.
fn keep(stream: &mut Stream, esp: &Partition, spool_dirs: &[PathBuf]) -> Result<Esp> {
    stream.skip_to(esp.start)?;
    let mut spool = Spool::new(spool_dirs.to_vec());
    let end = esp.end();
    spool.keep_all(esp.len, |to| stream.fill_all(to, end))?;
    Esp::open(spool, stream.name())
}

fn changed(name: &str) -> Error {
    Error::Unverified(format!("{name}: changed while it was read"))
}

/// Size and SHA-256 of what a reader gives.
pub fn sha256(reader: &mut impl Read) -> std::io::Result<state::Uki> {
    let mut hash = Sha256::new();
    let mut size = 0_u64;
    let mut block = vec![0; 256 * 1024];
    loop {
        let count = reader.read(&mut block)?;
        let Some(part) = block.get(..count).filter(|part| !part.is_empty()) else { break };
        hash.update(part);
        size += count as u64;
    }
    Ok(state::Uki { sha256: hex::encode(&hash.finalize()), size })
}
