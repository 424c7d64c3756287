//! A feed that is configured, and not followed.

use crate::doctor::finding::Finding;
use crate::update::status::FeedStatus;

/// The timer that makes the machine follow its feed.
pub(super) const TIMER: &str = "abide-update.timer";

/// `enabled`: whether the timer is; `failures`: how often in a row the feed could not be followed.
pub(super) fn look(feed: Option<&FeedStatus>, enabled: bool, failures: u32) -> Vec<Finding> {
    let Some(feed) = feed else { return vec![] };
    let mut found = vec![];
    if !enabled {
        found.push(
            Finding::warning(
                "feed-timer",
                format!("a feed is configured ([update]), but {TIMER} is not enabled"),
            )
            .because("updates are installed only by hand: `abide update`")
            .remedy(format!("systemctl enable --now {TIMER}")),
        );
    }
    if let Some(error) = feed.error.as_ref().filter(|_| failures > 1) {
        found.push(
            Finding::warning("feed", format!("the last {failures} polls of the feed failed: {error}"))
                .because("updates are neither found nor fetched")
                .remedy("fix that, then run: abide update --check"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_found_that_nobody_follows_or_that_is_away() {
        let mut feed = FeedStatus {
            source: "https://h/".into(),
            polled: None,
            error: None,
            available: None,
            percent: 0,
            waiting: None,
            until: None,
            pinned: None,
        };
        assert!(look(None, false, 9).is_empty());
        assert!(look(Some(&feed), true, 0).is_empty());
        assert_eq!(look(Some(&feed), false, 0).first().map(|f| f.id), Some("feed-timer"));
        feed.error = Some("the server answered 503".into());
        assert!(look(Some(&feed), true, 1).is_empty());
        assert!(
            look(Some(&feed), true, 2)
                .first()
                .is_some_and(|f| f.what.contains("2 polls of the feed failed: the server"))
        );
    }
}
