//! The choice of the source.

use crate::agent::context::RunContext;
use crate::agent::source::feed::FeedSource;
use crate::agent::source::hawkbit::HawkbitSource;
use crate::agent::source::interface::UpdateSource;
use crate::feed::cache::Cache;
use abide_core::error::Result;

/// The configured source; none if there is none.
///
/// # Errors
/// [`abide_core::error::Error::Image`] if the feed is a folder that is not there.
pub fn open<'a>(context: RunContext<'a>, cache: &Cache) -> Result<Option<Box<dyn UpdateSource + 'a>>> {
    let rules = &context.config.update;
    if let Some(settings) = &rules.hawkbit {
        return Ok(Some(Box::new(HawkbitSource::new(context, settings, cache.clone()))));
    }
    let Some(folder) = &rules.feed else { return Ok(None) };
    Ok(Some(Box::new(FeedSource::new(context, folder)?)))
}
