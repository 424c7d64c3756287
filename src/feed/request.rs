//! What an install lacks of a full file: the part of the agent without network asks for it, the one with network
//! fetches it.
//!
//! The one who fetches does not trust the request: it is within bounds, and what it names is looked up in the map.

use serde::{Deserialize, Serialize};

use crate::delta::Map;
use crate::feed::cache::{Cache, REQUEST};
use crate::files;
use abide_core::error::Result;

/// The most runs of regions in a request. What has more gaps is asked for as a whole.
const MAX_RUNS: usize = 4096;

/// Regions of a file, as runs: the first and the last of each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Request(Vec<(usize, usize)>);

impl Request {
    /// A request for everything.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// A request for these regions, which are in order.
    #[must_use]
    pub fn of(regions: &[usize]) -> Self {
        let mut runs: Vec<(usize, usize)> = vec![];
        for region in regions {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *region => *last = *region,
                _ => runs.push((*region, *region)),
            }
        }
        if runs.len() > MAX_RUNS { Self::whole() } else { Self(runs) }
    }

    /// The regions that it names, in order; none if that is everything, or does not fit the map.
    #[must_use]
    pub fn regions(&self, map: &Map) -> Option<Vec<usize>> {
        let Self(runs) = self;
        let mut next = 0;
        let mut regions = vec![];
        for (first, last) in runs {
            if *first < next || last < first || *last >= map.regions.len() {
                return None;
            }
            regions.extend(*first..=*last);
            next = last + 1;
        }
        (!regions.is_empty()).then_some(regions)
    }
}

fn name(sha256: &str) -> String {
    format!("{sha256}.{REQUEST}")
}

impl Cache {
    /// Leaves a request for the file with this digest.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be written.
    pub fn ask(&self, sha256: &str, request: &Request) -> Result<()> {
        files::write_json(&self.dir().join(name(sha256)), request)
    }

    /// The request for the file with this digest. One that cannot be read is for everything.
    #[must_use]
    pub fn asked(&self, sha256: &str) -> Option<Request> {
        files::read_json(&self.dir().join(name(sha256))).unwrap_or_else(|_| Some(Request::whole()))
    }

    /// Removes the request for the file with this digest, once it is answered.
    ///
    /// # Errors
    /// [`abide_core::error::Error::Failed`] if it cannot be removed.
    pub fn answered(&self, sha256: &str) -> Result<()> {
        self.remove(&name(sha256))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::delta::Region;

    fn map() -> Map {
        let region = |n: u8| Region { sha256: [n; 32], offset: u64::from(n) * 100, frame: 90 };
        Map {
            region_size: 1 << 20,
            len: 9 << 20,
            sha256: [7; 32],
            full_len: 900,
            regions: (0..9).map(region).collect(),
        }
    }

    #[test]
    fn a_request_names_the_regions_that_it_was_made_of() {
        for regions in [vec![0], vec![0, 1, 2, 5, 7, 8], vec![8]] {
            let text = serde_json::to_string(&Request::of(&regions)).unwrap();
            let read: Request = serde_json::from_str(&text).unwrap();
            assert_eq!(read.regions(&map()), Some(regions));
        }
        assert_eq!(serde_json::to_string(&Request::of(&[0, 1, 2, 5])).unwrap(), "[[0,2],[5,5]]");
    }

    #[test]
    fn a_request_that_does_not_fit_the_map_is_for_everything() {
        for text in
            ["[]", "[[9,9]]", "[[0,18446744073709551615]]", "[[3,2]]", "[[4,5],[5,6]]", "[[4,5],[0,0]]"]
        {
            let request: Request = serde_json::from_str(text).unwrap();
            assert_eq!(request.regions(&map()), None, "{text}");
        }
        let many: Vec<usize> = (0..3 * MAX_RUNS).step_by(2).collect();
        assert_eq!(Request::of(&many), Request::whole());
    }

    #[test]
    fn a_request_that_cannot_be_read_is_for_everything() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::of(&abide_core::root::Root::at(dir.path()));
        assert_eq!(cache.asked("d2"), None);
        cache.ask("d2", &Request::of(&[3])).unwrap();
        assert_eq!((cache.asked("d2"), cache.asked("d3")), (Some(Request::of(&[3])), None));
        std::fs::write(cache.dir().join("d2.request"), "[[").unwrap();
        assert_eq!(cache.asked("d2"), Some(Request::whole()));
        cache.answered("d2").unwrap();
        assert_eq!(cache.asked("d2"), None);
    }
}
