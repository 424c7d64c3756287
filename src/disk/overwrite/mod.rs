//! Overwriting a device with a stream: only differences are written, and everything is read back.
//!
//! One thread fills blocks, two compare them with the device and write the differences, and one flushes and
//! reads back. A fixed number of blocks circulates. Blocks of zeros do not circulate: they are recognised
//! while they are in the processor's cache, and only counted.

mod read_back;
mod writer;

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Builder};

use crate::disk::direct::{ALIGN, Block, DirectFile};
use crate::disk::hash_tree::HashTree;
use crate::disk::pages::is_zero;
use abide_core::error::{Error, OrError, Result};

/// Bytes in a block.
const BLOCK: usize = 1 << 20;

/// Blocks that circulate: 12 MiB.
const POOL: usize = 12;

const WRITERS: usize = 2;

/// The largest range of zeros that is passed on at once, in bytes. A device needs about the same time to
/// zero a range of any length.
const MOST_ZEROS: u64 = 64 << 20;

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of the stream.
    pub bytes: u64,
    /// Bytes written to the device.
    pub written: u64,
    /// Bytes made zero without sending them.
    pub zeroed: u64,
}

/// Overwrites the beginning of `device` with the bytes from `fill`, flushes them and reads them back: `most`
/// bytes, or fewer if `fill` once fills less than its whole buffer. `tick` gets the number of bytes so far.
/// The threads that write add what they write to `tree`, if there is one.
///
/// # Errors
/// [`Error::Image`] if the device cannot be read or written, [`Error::Unverified`] if the data read back
/// differs, and the errors of `fill`. The content of the device is then undefined.
pub fn overwrite(
    device: &DirectFile,
    tree: Option<&HashTree<'_>>,
    most: u64,
    fill: impl FnMut(&mut [u8]) -> Result<usize>,
    tick: impl FnMut(u64),
) -> Result<Totals> {
    let shared = &Shared::new(device, tree);
    let (free_in, free_out) = sync_channel(POOL);
    let (work_in, work_out) = sync_channel(POOL);
    let work_out = Mutex::new(work_out);
    let (check_in, check_out) = channel();
    for _ in 0..POOL {
        free_in.send(Block::new(BLOCK)).or_failed(|| "cannot start writing")?;
    }
    let result = thread::scope(|scope| {
        let cannot = || "cannot start writing";
        let mut writers = Vec::new();
        for _ in 0..WRITERS {
            let (free, check, work, shared) = (free_in.clone(), check_in.clone(), &work_out, shared);
            let writer = move || shared.write_blocks(work, &free, &check);
            writers.push(Builder::new().name("write".into()).spawn_scoped(scope, writer).or_failed(cannot)?);
        }
        let checker = move || shared.check(check_out);
        let checker =
            Builder::new().name("read back".into()).spawn_scoped(scope, checker).or_failed(cannot)?;
        let fed = shared.feed(most, fill, tick, &free_out, work_in);
        let died = || Error::Failed("a writing thread has panicked".into());
        let mut result = fed;
        for writer in writers {
            result = writer.join().map_err(|_| died()).and_then(|r| r).and(result);
        }
        drop(check_in);
        checker.join().map_err(|_| died()).and_then(|r| r).and(result)
    });
    result?;
    Ok(Totals {
        bytes: shared.given.load(Ordering::Relaxed),
        written: shared.written.load(Ordering::Relaxed),
        zeroed: shared.zeroed.load(Ordering::Relaxed),
    })
}

enum Work {
    /// The first `len` bytes of the block belong at `offset`.
    Bytes { offset: u64, len: usize, block: Block },
    /// There are `len` zeros at `offset`, whole pages.
    Zeros { offset: u64, len: u64 },
}

/// A range that was written, and its expected content.
struct WrittenRange {
    offset: u64,
    len: u64,
    expected: Expected,
    /// Bytes that were sent to the device for it.
    sent: u64,
}

enum Expected {
    /// At most a block, with this hash.
    Hash(u64),
    Zeros,
}

struct Shared<'a> {
    device: &'a DirectFile,
    tree: Option<&'a HashTree<'a>>,
    /// A thread has failed; the others stop.
    stop: AtomicBool,
    given: AtomicU64,
    different_blocks: AtomicU32,
    written: AtomicU64,
    zeroed: AtomicU64,
    zeros: Block,
}

impl<'a> Shared<'a> {
    fn new(device: &'a DirectFile, tree: Option<&'a HashTree<'a>>) -> Self {
        Self {
            device,
            tree,
            stop: AtomicBool::new(false),
            given: AtomicU64::new(0),
            different_blocks: AtomicU32::new(0),
            written: AtomicU64::new(0),
            zeroed: AtomicU64::new(0),
            zeros: Block::new(BLOCK),
        }
    }

    /// Records a failure, so that the others stop.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if result.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        result
    }

    fn feed(
        &self,
        most: u64,
        mut fill: impl FnMut(&mut [u8]) -> Result<usize>,
        mut tick: impl FnMut(u64),
        free: &Receiver<Block>,
        work: SyncSender<Work>,
    ) -> Result<()> {
        let (mut offset, mut zeros) = (0, 0);
        // Both ends of the queues are open as long as this runs.
        let mut spare = free.recv().ok();
        while offset < most && !self.stop.load(Ordering::Relaxed) {
            let wanted = usize::try_from(most - offset).unwrap_or(usize::MAX).min(BLOCK);
            let Some(mut block) = spare.take().or_else(|| free.recv().ok()) else { break };
            let count = self.noted(fill(block.get_mut(wanted)))?.min(wanted);
            let is_zeros = count > 0 && count.is_multiple_of(ALIGN) && is_zero(block.get(count));
            if zeros > 0 && (!is_zeros || zeros >= MOST_ZEROS) {
                if work.send(Work::Zeros { offset: offset - zeros, len: zeros }).is_err() {
                    break;
                }
                zeros = 0;
            }
            if is_zeros {
                zeros += count as u64;
                spare = Some(block);
            } else if count == 0 || work.send(Work::Bytes { offset, len: count, block }).is_err() {
                break;
            }
            offset += count as u64;
            self.given.store(offset, Ordering::Relaxed);
            tick(offset);
            if count < wanted {
                break;
            }
        }
        if zeros > 0 {
            // No thread receives it: they have failed, and report that themselves.
            drop(work.send(Work::Zeros { offset: offset - zeros, len: zeros }));
        }
        Ok(())
    }

    fn cannot(&self, what: &str, offset: u64) -> String {
        format!("{}: cannot {what} at byte {offset}", self.device.path().display())
    }
}

/// For [`overwrite`]: fills buffers from a reader.
///
/// # Errors
/// If the reader ends or fails.
pub fn fill_from(reader: &mut impl io::Read) -> impl FnMut(&mut [u8]) -> Result<usize> + '_ {
    |to| reader.read_exact(to).or_image(|| "cannot read").map(|()| to.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;
    use std::io::Cursor;
    use std::path::Path;

    fn device(content: &[u8]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn run(path: &Path, image: &[u8]) -> Result<Totals> {
        let device = DirectFile::open(path).unwrap();
        overwrite(&device, None, image.len() as u64, fill_from(&mut Cursor::new(image)), |_| ())
    }

    /// Bytes without a page of zeros.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut x = seed | 1;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect()
    }

    #[test]
    fn the_device_holds_the_image_and_the_bytes_behind_it_are_unchanged() {
        for len in [0, 1, 4096, BLOCK - 1, BLOCK, 3 * BLOCK + 4097, 20 * BLOCK] {
            let image = noise(len, 7);
            let file = device(&noise(len + 5000, 8));
            let report = run(file.path(), &image).unwrap();
            assert_eq!((report.bytes, report.written), (len as u64, len as u64));
            let after = std::fs::read(file.path()).unwrap();
            assert!(after[..len] == image);
            assert!(after[len..] == noise(len + 5000, 8)[len..]);
        }
    }

    #[test]
    fn a_source_whose_end_is_not_known_ends_where_it_fills_less() {
        let image = noise(2 * BLOCK + 3000, 1);
        let file = device(&noise(4 * BLOCK, 2));
        let device = DirectFile::open(file.path()).unwrap();
        let mut rest = Cursor::new(&image);
        let fill = |to: &mut [u8]| io::Read::read(&mut rest, to).or_image(|| "cannot read");
        assert_eq!(
            overwrite(&device, None, 4 * BLOCK as u64, fill, |_| ()).unwrap().bytes,
            image.len() as u64
        );
        let after = std::fs::read(file.path()).unwrap();
        assert!(after[..image.len()] == image && after[image.len()..] == noise(4 * BLOCK, 2)[image.len()..]);
    }

    #[test]
    fn what_is_there_already_is_not_written_again() {
        let image = noise(5 * BLOCK + 100, 1);
        let file = device(&image);
        assert_eq!(run(file.path(), &image).unwrap().written, 0);
        let mut changed = image.clone();
        changed[BLOCK + 5000] ^= 1;
        changed[3 * BLOCK - 1] ^= 1;
        assert_eq!(run(file.path(), &changed).unwrap().written, 2 * ALIGN as u64);
        assert!(std::fs::read(file.path()).unwrap() == changed);
    }

    #[test]
    fn zeros_are_not_sent_to_the_device() {
        let mut image = noise(40 * BLOCK, 2);
        image[BLOCK..39 * BLOCK].fill(0);
        let file = device(&noise(40 * BLOCK, 5));
        let report = run(file.path(), &image).unwrap();
        assert_eq!((report.written, report.zeroed), (2 * BLOCK as u64, 38 * BLOCK as u64));
        assert!(std::fs::read(file.path()).unwrap() == image);
    }

    #[test]
    fn zeros_arrive_wherever_they_lie_and_whatever_was_there() {
        let len = 72 * BLOCK + 4096;
        let some = |seed| noise(BLOCK, seed).repeat(73)[..len].to_vec();
        let (mut image, mut old) = (some(2), some(5));
        // At both ends, longer than what is given on at once, in pieces of a block.
        for (from, to) in
            [(0, BLOCK), (2 * BLOCK + 8192, 3 * BLOCK), (5 * BLOCK, 70 * BLOCK), (71 * BLOCK, len)]
        {
            image[from..to].fill(0);
        }
        // Some are there already, and some of a block.
        old[30 * BLOCK..50 * BLOCK].fill(0);
        old[60 * BLOCK + 4096..61 * BLOCK].fill(0);
        for start in [old, image.clone(), vec![0; len]] {
            let file = device(&start);
            run(file.path(), &image).unwrap();
            assert!(std::fs::read(file.path()).unwrap() == image);
            let again = run(file.path(), &image).unwrap();
            assert_eq!((again.written, again.zeroed, again.bytes), (0, 0, len as u64));
        }
    }

    #[test]
    fn a_source_that_breaks_ends_it_with_its_own_error() {
        let file = device(&noise(30 * BLOCK, 1));
        let device = DirectFile::open(file.path()).unwrap();
        let image = noise(20 * BLOCK, 2);
        let error = overwrite(&device, None, 30 * BLOCK as u64, fill_from(&mut Cursor::new(image)), |_| ());
        assert_eq!(error.unwrap_err().exit_code(), 3);
    }

    #[test]
    fn a_device_that_is_too_small_ends_it_with_an_error() {
        let file = device(&noise(2 * BLOCK, 1));
        assert_eq!(run(file.path(), &noise(30 * BLOCK, 2)).unwrap_err().exit_code(), 3);
    }

    #[test]
    fn a_device_that_reads_back_differently_is_noticed() {
        let file = device(&noise(BLOCK, 1));
        let device = DirectFile::open(file.path()).unwrap();
        let shared = Shared::new(&device, None);
        let (send, receive) = channel();
        send.send(WrittenRange { offset: 4096, len: 8192, expected: Expected::Hash(1), sent: 8192 }).unwrap();
        drop(send);
        assert_eq!(shared.check(receive).unwrap_err().exit_code(), 7);
        let (send, receive) = channel();
        send.send(WrittenRange { offset: 4096, len: 8192, expected: Expected::Zeros, sent: 0 }).unwrap();
        drop(send);
        assert_eq!(shared.check(receive).unwrap_err().exit_code(), 7);
    }
}
