//! Writing what differs.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::direct::{ALIGN, Block};
use crate::disk::overwrite::{BLOCK, Expected, Shared, Work, WrittenRange};
use crate::disk::pages::{differing, runs, same};
use abide_core::error::{Error, OrError, Result};

/// After this many blocks without an equal page, the device is assumed to have other content. Then only
/// one page of each block is compared first.
const OTHER_CONTENT_AFTER: u32 = 16;

impl Shared<'_> {
    /// Writes blocks until there are no more.
    pub(super) fn write_blocks(
        &self,
        work: &Mutex<Receiver<Work>>,
        free: &SyncSender<Block>,
        check: &Sender<WrittenRange>,
    ) -> Result<()> {
        let mut old = Block::new(BLOCK);
        let mut result = Ok(());
        loop {
            let job = match work.lock() {
                Ok(queue) => queue.recv(),
                Err(_) => return Err(Error::Failed("a writing thread has panicked".into())),
            };
            let Ok(job) = job else { return result };
            // After a failure the blocks still circulate; otherwise the thread that fills them would
            // wait forever.
            if result.is_ok() && !self.stop.load(Ordering::Relaxed) {
                result = self.noted(match &job {
                    Work::Bytes { offset, len, block } => self
                        .write_block(block.get(*len), *offset, &mut old, check)
                        .and_then(|()| self.tree.map_or(Ok(()), |tree| tree.add(*offset, block.get(*len)))),
                    Work::Zeros { offset, len } => self
                        .write_zeros(*offset, *len, &mut old, check)
                        .and_then(|()| self.tree.map_or(Ok(()), |tree| tree.add_zeros(*offset, *len))),
                });
            }
            if let Work::Bytes { block, .. } = job {
                drop(free.send(block));
            }
        }
    }

    fn write_block(
        &self,
        new: &[u8],
        offset: u64,
        old: &mut Block,
        check: &Sender<WrittenRange>,
    ) -> Result<()> {
        if self.has_other_content(new, offset, old)? {
            return self.write_range(new, offset, check);
        }
        self.differing(new, offset, old)?.into_iter().try_for_each(|range| {
            let offset = offset + range.start as u64;
            self.write_range(new.get(range).unwrap_or_default(), offset, check)
        })
    }

    /// Zeroes a range. Adjacent blocks without any zero page are zeroed together.
    fn write_zeros(&self, start: u64, len: u64, old: &mut Block, check: &Sender<WrittenRange>) -> Result<()> {
        let end = start + len;
        let zeros_before = |end: u64| self.zeros.get(usize::try_from(end).unwrap_or(usize::MAX).min(BLOCK));
        if self.has_other_content(zeros_before(len), start, old)? {
            return self.make_zero(start..end, check);
        }
        let (mut offset, mut waiting) = (start, start..start);
        while offset < end {
            let zeros = zeros_before(end - offset);
            let next = offset + zeros.len() as u64;
            let ranges = self.differing(zeros, offset, old)?;
            if ranges.first().is_some_and(|r| r.len() == zeros.len()) {
                waiting.end = next;
            } else {
                self.make_zero(waiting, check)?;
                for range in ranges {
                    let part = zeros.get(range.clone()).unwrap_or_default();
                    self.write_range(part, offset + range.start as u64, check)?;
                }
                waiting = next..next;
            }
            offset = next;
        }
        self.make_zero(waiting, check)
    }

    /// The ranges in which the device differs from `new`. Counts the blocks in a row that differ
    /// completely.
    fn differing(&self, new: &[u8], offset: u64, old: &mut Block) -> Result<Vec<Range<usize>>> {
        let old = old.get_mut(new.len());
        self.device.read_at(old, offset).or_image(|| self.cannot("read", offset))?;
        let ranges = differing(new, old);
        if ranges.first().is_some_and(|r| r.len() == new.len()) {
            self.different_blocks.fetch_add(1, Ordering::Relaxed);
        } else {
            self.different_blocks.store(0, Ordering::Relaxed);
        }
        Ok(ranges)
    }

    /// Whether the device has other content here, too.
    fn has_other_content(&self, new: &[u8], offset: u64, old: &mut Block) -> Result<bool> {
        let middle = new.len() / 2 / ALIGN * ALIGN;
        let Some(page) = new.get(middle..middle + ALIGN) else { return Ok(false) };
        if self.different_blocks.load(Ordering::Relaxed) < OTHER_CONTENT_AFTER {
            return Ok(false);
        }
        let offset = offset + middle as u64;
        let old = old.get_mut(ALIGN);
        self.device.read_at(old, offset).or_image(|| self.cannot("read", offset))?;
        Ok(!same(page, old))
    }

    fn make_zero(&self, range: Range<u64>, check: &Sender<WrittenRange>) -> Result<()> {
        let (mut offset, len) = (range.start, range.end - range.start);
        if len == 0 {
            return Ok(());
        }
        if self.device.punch(offset, len) {
            return self.zeroed(offset, len, check);
        }
        while offset < range.end {
            let count = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(BLOCK);
            self.write_range(self.zeros.get(count), offset, check)?;
            offset += count as u64;
        }
        Ok(())
    }

    fn zeroed(&self, offset: u64, len: u64, check: &Sender<WrittenRange>) -> Result<()> {
        self.zeroed.fetch_add(len, Ordering::Relaxed);
        send(check, WrittenRange { offset, len, expected: Expected::Zeros, sent: 0 })
    }

    fn write_range(&self, bytes: &[u8], start: u64, check: &Sender<WrittenRange>) -> Result<()> {
        for (run, is_zeros) in runs(bytes) {
            let part = bytes.get(run.clone()).unwrap_or_default();
            let offset = start + run.start as u64;
            let len = part.len() as u64;
            if is_zeros && self.device.punch(offset, len) {
                self.zeroed(offset, len, check)?;
                continue;
            }
            self.device.write_at(part, offset).or_image(|| self.cannot("write", offset))?;
            self.written.fetch_add(len, Ordering::Relaxed);
            let expected = if is_zeros { Expected::Zeros } else { Expected::Hash(xxh3_64(part)) };
            send(check, WrittenRange { offset, len, expected, sent: len })?;
        }
        Ok(())
    }
}

fn send(check: &Sender<WrittenRange>, written: WrittenRange) -> Result<()> {
    check.send(written).or_failed(|| "a writing thread has panicked")
}
