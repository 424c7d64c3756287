//! Regions as frames of Zstandard (RFC 8878), alone or with old bytes as their prefix.

use zstd::zstd_safe::{CCtx, CParameter, DCtx, DParameter, get_error_name};

/// The longest frame of a region in bytes. One that could not be compressed is a little longer than its region.
pub const MAX_FRAME: u32 = (8 << 20) + (64 << 10);

/// The window of a frame with a prefix: the prefix and the region.
const WINDOW_LOG: u32 = 24;

/// Compresses a region. `prefix`: the bytes that it resembles, at most [`crate::delta::MAX_OLD`]; none for a
/// frame of the full file.
///
/// # Errors
/// What libzstd says.
pub fn pack(region: &[u8], prefix: &[u8], level: i32) -> Result<Vec<u8>, String> {
    let mut context = CCtx::create();
    let mut set = |parameter| context.set_parameter(parameter).map(drop).map_err(told);
    set(CParameter::CompressionLevel(level))?;
    if !prefix.is_empty() {
        set(CParameter::WindowLog(WINDOW_LOG))?;
        set(CParameter::EnableLongDistanceMatching(true))?;
        context.ref_prefix(prefix).map_err(told)?;
    }
    let mut frame = Vec::with_capacity(zstd::zstd_safe::compress_bound(region.len()));
    context.compress2(&mut frame, region).map_err(told)?;
    Ok(frame)
}

/// Unpacks a region of `len` bytes.
///
/// # Errors
/// What libzstd says, or that the frame has another length.
pub fn unpack(frame: &[u8], prefix: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut context = DCtx::create();
    context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG)).map_err(told)?;
    if !prefix.is_empty() {
        context.ref_prefix(prefix).map_err(told)?;
    }
    let mut region = Vec::with_capacity(len);
    context.decompress(&mut region, frame).map_err(told)?;
    if region.len() == len { Ok(region) } else { Err(format!("has {} bytes instead of {len}", region.len())) }
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
        let new = [&old[3 << 20..4 << 20], &noise(2, 100), &old[..(1 << 20) - 100]].concat();
        let frame = pack(&new, &old, 9).unwrap();
        assert!(frame.len() < 2000, "{}", frame.len());
        assert_eq!(unpack(&frame, &old, new.len()).unwrap(), new);
        assert!(unpack(&frame, &old, new.len() - 1).is_err());
        assert_ne!(unpack(&frame, &old[1..], new.len()), Ok(new.clone()));
        let alone = pack(&new, &[], 9).unwrap();
        assert_eq!(unpack(&alone, &[], new.len()).unwrap(), new);
    }
}
