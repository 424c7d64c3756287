//! The download of single frames of a full file, by range requests.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{info, warn};

use crate::config::Download;
use crate::delta::Map;
use crate::feed::cache::{Cache, FRAMES};
use crate::feed::download::{FetchError, FetchResult, Fetched, WantedFile};
use crate::feed::frames::{Frames, HEAD, unpacked};
use crate::files::OpenFolder;
use crate::image::transfer::{Known, Place, Resumed, resume_known};
use abide_core::error::{Error, OrError, Result};

/// Frames are fetched by one request if no more than so many bytes are between them.
const GAP: u64 = 64 << 10;

/// Of the full file, in percent: with more to fetch, all of it is fetched.
const MOST: u64 = 80;

const MODE: u32 = 0o644;

/// Bytes of the full file that one request is for, and their regions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    from: u64,
    until: u64,
    regions: Vec<usize>,
}

/// Which requests fetch the frames of these regions. Pure.
fn spans(map: &Map, regions: &[usize]) -> Vec<Span> {
    let mut spans: Vec<Span> = vec![];
    for (number, region) in regions.iter().filter_map(|number| Some((*number, map.regions.get(*number)?))) {
        let until = region.offset + u64::from(region.frame);
        match spans.last_mut() {
            Some(last) if region.offset <= last.until + GAP => {
                last.until = until;
                last.regions.push(number);
            }
            _ => spans.push(Span { from: region.offset, until, regions: vec![number] }),
        }
    }
    spans
}

impl Cache {
    /// Fetches the frames of `regions` of a full file, beside those that were fetched before. Returns whether that was possible:
    /// else the full file is to be fetched, since it is not much larger, or the server sends nothing else.
    ///
    /// # Errors
    /// As [`Cache::fetch`]. [`Error::Unverified`] if a frame is not the one of the map.
    pub fn fetch_frames(
        &self,
        from: &Place<'_>,
        wanted: &WantedFile<'_>,
        map: &Map,
        regions: &[usize],
        limits: &Download,
        mut progress: impl FnMut(Fetched),
    ) -> FetchResult<bool> {
        let name = wanted.name;
        let mut frames = self.open_frames(wanted.sha256, map)?;
        let missing: Vec<usize> =
            regions.iter().copied().filter(|number| frames.region(map, *number).is_none()).collect();
        if missing.len() < regions.len() {
            info!(
                "{name}: {} of {} regions are fetched already",
                regions.len() - missing.len(),
                regions.len()
            );
        } else {
            // A frame that is here and does not fit is of no use.
            frames.cut(true).or_failed(|| format!("{name}: cannot truncate its frames"))?;
        }
        let spans = spans(map, &missing);
        let total: u64 = spans.iter().map(|span| span.until - span.from).sum();
        let left = map.full_len.saturating_sub(self.fetched(wanted.sha256));
        if total >= left || total.saturating_mul(100) > map.full_len.saturating_mul(MOST) {
            info!("{name}: {total} of {} bytes are missing; fetching the full file", map.full_len);
            return Ok(false);
        }
        self.check_free_space(total + HEAD * missing.len() as u64)?;
        info!("{name}: fetching {} regions, {total} bytes by {} requests", missing.len(), spans.len());
        let is_whole = Arc::new(AtomicBool::new(false));
        let mut done = 0;
        for span in &spans {
            let known = Known {
                from: span.from,
                until: Some(span.until),
                len: Some(map.full_len),
                is_whole: Arc::clone(&is_whole),
                part_only: true,
                ..Known::by_digest()
            };
            let answer = resume_known(from, limits, known);
            if is_whole.load(Ordering::Relaxed) {
                warn!("{name}: the server has no ranges; fetching the full file");
                return Ok(false);
            }
            let mut source = match answer.map_err(FetchError::outage)? {
                Resumed::Rest(source) => source,
                Resumed::TooLarge(error) => return Err(error.into()),
                Resumed::Nothing => {
                    return Err(
                        Error::Image(format!("{name}: is listed, but not on the server (404)")).into()
                    );
                }
                Resumed::Shorter => {
                    let other = format!("{name}: the server has a file of another length than its map says");
                    return Err(Error::Image(other).into());
                }
            };
            let fetched = take(&mut frames, map, span, &mut source.reader, name, |bytes| {
                progress(Fetched { done: done + bytes, total: Some(total) });
            });
            // What was fetched is kept in any case.
            frames.sync().or_failed(|| format!("{name}: cannot flush its frames"))?;
            fetched?;
            done += span.until - span.from;
        }
        Ok(true)
    }

    fn open_frames(&self, sha256: &str, map: &Map) -> Result<Frames> {
        let name = format!("{sha256}.{FRAMES}");
        let opened = OpenFolder::create(self.dir())
            .and_then(|folder| folder.open_to_write(name.as_ref(), MODE))
            .and_then(|file| Frames::find(file, map))
            .and_then(|mut frames| frames.cut(false).map(|()| frames));
        opened.or_failed(|| format!("{}: cannot open", self.dir().join(name).display()))
    }
}

/// Takes the frames of a span from its bytes.
fn take(
    frames: &mut Frames,
    map: &Map,
    span: &Span,
    from: &mut impl Read,
    name: &str,
    mut progress: impl FnMut(u64),
) -> FetchResult<()> {
    let interrupted =
        |e: io::Error| FetchError::outage(Error::Image(format!("{name}: the download was interrupted: {e}")));
    let mut at = span.from;
    for number in &span.regions {
        let Some(region) = map.regions.get(*number) else { continue };
        let gap = region.offset.saturating_sub(at);
        io::copy(&mut from.by_ref().take(gap), &mut io::sink()).map_err(interrupted)?;
        let mut frame = vec![0; region.frame as usize];
        from.read_exact(&mut frame).map_err(interrupted)?;
        unpacked(map, *number, &frame).map_err(|why| {
            Error::Unverified(format!("{name}: region {number} {why}; it is damaged or was replaced"))
        })?;
        frames.add(*number, &frame).or_failed(|| format!("{name}: cannot write its frames"))?;
        at = region.offset + u64::from(region.frame);
        progress(at - span.from);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::Region;

    #[test]
    fn neighbouring_frames_are_fetched_by_one_request() {
        let frame = 40 << 10;
        let region = |n: u64| Region { sha256: [0; 32], offset: n * u64::from(frame), frame };
        let map = Map {
            region_size: 1 << 20,
            len: 9 << 20,
            sha256: [0; 32],
            full_len: 9 * u64::from(frame),
            regions: (0..9).map(region).collect(),
        };
        let span = |first: u64, last: u64, regions: &[usize]| Span {
            from: first * u64::from(frame),
            until: (last + 1) * u64::from(frame),
            regions: regions.to_vec(),
        };
        assert_eq!(spans(&map, &[0, 1, 2, 8]), [span(0, 2, &[0, 1, 2]), span(8, 8, &[8])]);
        assert_eq!(spans(&map, &[1, 3, 6]), [span(1, 3, &[1, 3]), span(6, 6, &[6])]);
        assert_eq!(spans(&map, &[]), []);
    }
}
