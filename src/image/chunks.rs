//! Reads a source ahead on one thread and hashes it on another.

use std::io::{self, BufRead, Read};
use std::mem::take;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::disk::direct::Block;
use crate::image::sha256::Sha256;
use crate::image::trust::minisign::Claim;

/// Bytes read at once.
const CHUNK: usize = 512 * 1024;

/// Chunks that circulate between reader, decoder and hash: 4 MiB.
const POOL: usize = 8;

type Chunk = Arc<Filled>;

/// A buffer with bytes of the source. It returns to the reader when its last user drops it.
#[derive(Default)]
struct Filled {
    block: Block,
    len: usize,
    home: Option<SyncSender<Block>>,
}

impl Deref for Filled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.block.get(self.len)
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(home) = &self.home {
            // It fails if the reader has ended and needs no more buffers.
            drop(home.send(take(&mut self.block)));
        }
    }
}

/// The bytes of a source, in order, for the decoder.
pub struct Chunks {
    queue: Receiver<io::Result<Chunk>>,
    current: Chunk,
    at: usize,
    failed: bool,
}

/// The hash of the bytes that were read, in progress.
pub struct Hashed(JoinHandle<StreamDigest>);

/// SHA-256 of a whole source, and whether its signature is valid.
pub struct StreamDigest {
    /// SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// `None` if there was no signature to check.
    pub signed: Option<bool>,
}

/// Starts to read and to hash; checks the signature `claim` along the way.
///
/// # Errors
/// If the threads cannot be started.
pub fn start(source: Box<dyn Read + Send>, claim: Option<Claim>) -> io::Result<(Chunks, Hashed)> {
    let (to_decoder, queue) = sync_channel(POOL);
    let (to_hash, hash_queue) = sync_channel::<Chunk>(POOL);
    let digest = thread::Builder::new().name("hash".into()).spawn(move || hash(&hash_queue, claim))?;
    thread::Builder::new().name("read".into()).spawn(move || read(source, &to_decoder, &to_hash))?;
    Ok((Chunks { queue, current: Chunk::default(), at: 0, failed: false }, Hashed(digest)))
}

/// Reads until the end, the first error, or until a receiver is dropped.
fn read(
    mut source: Box<dyn Read + Send>,
    to_decoder: &SyncSender<io::Result<Chunk>>,
    to_hash: &SyncSender<Chunk>,
) {
    let (home, free) = sync_channel(POOL);
    for _ in 0..POOL {
        drop(home.send(Block::new(CHUNK)));
    }
    while let Ok(mut block) = free.recv() {
        let (len, end) = fill(&mut source, block.get_mut(CHUNK));
        if len > 0 {
            let chunk = Arc::new(Filled { block, len, home: Some(home.clone()) });
            if to_hash.send(Arc::clone(&chunk)).is_err() || to_decoder.send(Ok(chunk)).is_err() {
                return;
            }
        }
        match end {
            None => {}
            Some(Ok(())) => return,
            // It fails if the decoder was dropped, which needs no error then.
            Some(Err(e)) => return drop(to_decoder.send(Err(e))),
        }
    }
}

/// Fills `to`. Fewer bytes mean that the source has ended, with or without an error.
fn fill(source: &mut impl Read, to: &mut [u8]) -> (usize, Option<io::Result<()>>) {
    let mut len = 0;
    while let Some(rest) = to.get_mut(len..).filter(|rest| !rest.is_empty()) {
        match source.read(rest) {
            Ok(0) => return (len, Some(Ok(()))),
            Ok(count) => len += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return (len, Some(Err(e))),
        }
    }
    (len, None)
}

fn hash(queue: &Receiver<Chunk>, claim: Option<Claim>) -> StreamDigest {
    let mut sha256 = Sha256::default();
    let mut verifier = claim.as_ref().map(Claim::verifier);
    while let Ok(chunk) = queue.recv() {
        sha256.update(&chunk);
        if let Some(Ok(verifier)) = &mut verifier {
            verifier.update(&chunk);
        }
    }
    let signed = verifier.map(|verifier| verifier.and_then(|mut v| v.finalize()).is_ok());
    StreamDigest { sha256: sha256.finish(), signed }
}

impl Hashed {
    /// Waits for the digest of everything that was read. To be called at the end of the source.
    ///
    /// # Errors
    /// If the hashing thread has panicked.
    pub fn finish(self) -> io::Result<StreamDigest> {
        self.0.join().map_err(|_| io::Error::other("the hashing thread has panicked"))
    }
}

impl Chunks {
    /// Whether reading the source failed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.current.len() {
            self.at = 0;
            // The reader has ended: everything was read.
            self.current = match self.queue.recv() {
                Ok(chunk) => chunk.inspect_err(|_| self.failed = true)?,
                Err(_) => Chunk::default(),
            };
        }
        Ok(self.current.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Read for Chunks {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let from = self.fill_buf()?;
        let count = from.len().min(to.len());
        to.split_at_mut(count).0.copy_from_slice(from.split_at(count).0);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::image::sha256;

    #[test]
    fn what_is_read_is_what_is_hashed() {
        let bytes: Vec<u8> = (0..1_000_000_u32).map(|n| (n % 251) as u8).collect();
        let (mut chunks, hashed) = start(Box::new(io::Cursor::new(bytes.clone())), None).unwrap();
        let mut read = Vec::new();
        chunks.read_to_end(&mut read).unwrap();
        assert!(read == bytes);
        assert_eq!(hashed.finish().unwrap().sha256, sha256::of_reader(bytes.as_slice()).unwrap().0);
    }

    #[test]
    fn an_error_of_the_source_arrives_after_the_bytes_before_it() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cable pulled"))
            }
        }
        let whole = vec![7; CHUNK + 10];
        let (mut chunks, _) = start(Box::new(io::Cursor::new(whole).chain(Broken)), None).unwrap();
        let mut read = Vec::new();
        assert_eq!(chunks.read_to_end(&mut read).unwrap_err().to_string(), "cable pulled");
        assert_eq!(read.len(), CHUNK + 10);
    }
}
