//! Reading back what was written.

use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use xxhash_rust::xxh3::xxh3_64;

use crate::disk::direct::{ALIGN, Block};
use crate::disk::overwrite::{BLOCK, Expected, Shared, WrittenRange};
use crate::disk::pages::is_zero;
use abide_core::error::{Error, OrError, Result};

/// After this many bytes the device is flushed, and the data is read back. Before a flush, a disk may
/// answer a read from its cache, so reading back would prove nothing.
const GROUP: u64 = 64 << 20;

/// A range that the device zeroed itself counts less by this factor: no data had to be sent.
const ZERO_SHARE: u64 = 8;

impl Shared<'_> {
    /// Reads back the written ranges, group by group after the writers. At the end everything is
    /// durable, also blocks that were already equal: an earlier write may have been interrupted before
    /// its flush.
    pub(super) fn check(&self, written: Receiver<WrittenRange>) -> Result<()> {
        let mut block = Block::new(BLOCK);
        let (mut group, mut bytes) = (Vec::new(), 0);
        for range in written {
            if self.stop.load(Ordering::Relaxed) {
                continue;
            }
            bytes += range.sent.max(range.len / ZERO_SHARE);
            group.push(range);
            if bytes >= GROUP {
                self.noted(self.check_group(&group, &mut block))?;
                group.clear();
                bytes = 0;
            }
        }
        if self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.check_group(&group, &mut block)
    }

    fn check_group(&self, group: &[WrittenRange], block: &mut Block) -> Result<()> {
        let cannot = || format!("{}: cannot flush", self.device.path().display());
        self.device.flush().or_image(cannot)?;
        let odd =
            |r: &WrittenRange| !r.len.is_multiple_of(ALIGN as u64) || !r.offset.is_multiple_of(ALIGN as u64);
        if !self.device.is_direct() || group.iter().any(odd) {
            self.device.drop_cache().or_image(cannot)?;
        }
        group.iter().try_for_each(|range| self.check_range(range, block))
    }

    fn check_range(&self, range: &WrittenRange, block: &mut Block) -> Result<()> {
        let (mut offset, end) = (range.offset, range.offset + range.len);
        while offset < end {
            let count = usize::try_from(end - offset).unwrap_or(usize::MAX).min(BLOCK);
            let bytes = block.get_mut(count);
            self.device.read_at(bytes, offset).or_image(|| self.cannot("read back", offset))?;
            let is_right = match range.expected {
                Expected::Hash(hash) => xxh3_64(bytes) == hash,
                Expected::Zeros => is_zero(bytes),
            };
            if !is_right {
                return Err(Error::Unverified(format!(
                    "{}: the data read back at byte {offset} differs from what was written; the disk is failing",
                    self.device.path().display(),
                )));
            }
            offset += count as u64;
        }
        Ok(())
    }
}
