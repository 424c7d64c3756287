//! Writing what differs.

use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, SyncSender};

use xxhash_rust::xxh3::xxh3_64;

use super::pages::{differing, runs, same};
use super::{BLOCK, Job, Shared, Written};
use crate::disk::direct::{ALIGN, Block};
use crate::error::{Error, OrError, Result};

/// After so many blocks in which nothing was as it should be, the device is taken for one with
/// other content, and of each block only a page is read to see whether that is still so.
const STRANGERS: u32 = 16;

impl Shared<'_> {
    /// Writes the blocks that come, until none do.
    pub(super) fn write_blocks(
        &self,
        work: &Mutex<Receiver<Job>>,
        free: &SyncSender<Block>,
        check: &Sender<Written>,
    ) -> Result<()> {
        let mut old = Block::new(BLOCK);
        let mut result = Ok(());
        loop {
            let job = match work.lock() {
                Ok(queue) => queue.recv(),
                Err(_) => return Err(Error::Failed("a writing thread died".into())),
            };
            let Ok(job) = job else { return result };
            // After a failure the blocks still go round, or the feeding thread would wait for ever.
            if result.is_ok() && !self.stop.load(Ordering::Relaxed) {
                result = self.noted(self.write_block(&job, &mut old, check));
            }
            drop(free.send(job.block));
        }
    }

    fn write_block(&self, job: &Job, old: &mut Block, check: &Sender<Written>) -> Result<()> {
        let new = job.block.get(job.len);
        if self.is_strange(job, old)? {
            return self.write_range(new, job.offset, check);
        }
        let old = old.get_mut(job.len);
        self.device.read_at(old, job.offset).or_image(|| self.cannot("read", job.offset))?;
        let ranges = differing(new, old);
        if ranges.first().is_some_and(|r| r.len() == job.len) {
            self.strangers.fetch_add(1, Ordering::Relaxed);
        } else {
            self.strangers.store(0, Ordering::Relaxed);
        }
        ranges.into_iter().try_for_each(|range| {
            let offset = job.offset + range.start as u64;
            self.write_range(new.get(range).unwrap_or_default(), offset, check)
        })
    }

    /// Whether the device holds something else here, as it did before.
    fn is_strange(&self, job: &Job, old: &mut Block) -> Result<bool> {
        let middle = job.len / 2 / ALIGN * ALIGN;
        let Some(page) = job.block.get(job.len).get(middle..middle + ALIGN) else { return Ok(false) };
        if self.strangers.load(Ordering::Relaxed) < STRANGERS {
            return Ok(false);
        }
        let offset = job.offset + middle as u64;
        let old = old.get_mut(ALIGN);
        self.device.read_at(old, offset).or_image(|| self.cannot("read", offset))?;
        Ok(!same(page, old))
    }

    fn write_range(&self, bytes: &[u8], start: u64, check: &Sender<Written>) -> Result<()> {
        for (run, is_zero) in runs(bytes) {
            let part = bytes.get(run.clone()).unwrap_or_default();
            let offset = start + run.start as u64;
            let len = part.len() as u64;
            let sent = if is_zero && self.device.punch(offset, part.len()) {
                self.zeroed.fetch_add(len, Ordering::Relaxed);
                0
            } else {
                self.device.write_at(part, offset).or_image(|| self.cannot("write", offset))?;
                self.written.fetch_add(len, Ordering::Relaxed);
                len
            };
            let written = Written { offset, len: part.len(), hash: xxh3_64(part), sent };
            check.send(written).or_failed(|| "a writing thread died")?;
        }
        Ok(())
    }
}
