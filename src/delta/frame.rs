//! Regions as frames of Zstandard (RFC 8878), alone or with old bytes as their prefix.

use zstd::zstd_safe::{CCtx, DCtx, DParameter, get_error_name};

/// The longest frame of a region in bytes. One that could not be compressed is a little longer than its region.
pub const MAX_FRAME: u32 = (8 << 20) + (64 << 10);

/// The largest window of a frame that is unpacked: of one with a prefix, that and the region.
const WINDOW_LOG: u32 = 24;

/// Begins a dictionary (RFC 8878, section 5). A prefix with these bytes in front would be taken for one.
pub const DICTIONARY: [u8; 4] = 0xEC30_A437_u32.to_le_bytes();

/// Compresses regions. It keeps its memory from one to the next, which does not change what it makes.
#[derive(Default)]
pub struct Packer(CCtx<'static>);

impl Packer {
    /// Compresses a region. `prefix`: the bytes that it resembles, at most [`crate::delta::MAX_OLD`], not beginning with
    /// [`DICTIONARY`]; none for a frame of the full file. Of a long one zstd's tables keep about the last 2 MiB; what stands in front
    /// of these is found in part.
    ///
    /// # Errors
    /// What libzstd says.
    pub fn pack(&mut self, region: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>, String> {
        let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(region.len()));
        // The prefix may be longer than the window: all of it can be referred to while the window holds the whole region
        // (RFC 8878, section 5), so the level's own window is enough.
        self.0.compress_using_dict(&mut frame, region, prefix, level).map_err(told)?;
        Ok(frame)
    }
}

/// Compresses one region, as [`Packer::pack`].
///
/// # Errors
/// What libzstd says.
pub fn pack(region: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>, String> {
    Packer::default().pack(region, prefix, level)
}

/// Unpacks a region of at most `len` bytes.
///
/// # Errors
/// What libzstd says.
pub fn unpack(frame: &[u8], prefix: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(told)?;
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(told)?;
    }
    let mut region = Vec::with_capacity(len);
    context.decompress(&mut region, frame).map_err(told)?;
    Ok(region)
}

fn told(code: usize) -> String {
    get_error_name(code).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        })
        .take(len)
        .collect()
    }

    #[test]
    fn a_region_is_small_beside_the_bytes_it_was_made_of() {
        let old = noise(1, 8 << 20);
        let new = [&old[7 << 20..], &noise(2, 100), &old[6 << 20..(7 << 20) - 100]].concat();
        let frame = pack(&new, &old, 9).unwrap();
        assert!(frame.len() < 2000, "{}", frame.len());
        assert_eq!(unpack(&frame, &old, new.len()).unwrap(), new);
        assert!(unpack(&frame, &old, new.len() - 1).is_err());
        assert!(
            unpack(&frame, &old[..old.len() - 1], new.len()).as_ref() != Ok(&new),
            "another prefix makes the same"
        );
        let alone = pack(&new, &[], 9).unwrap();
        assert_eq!(unpack(&alone, &[], new.len()).unwrap(), new);
    }
}
