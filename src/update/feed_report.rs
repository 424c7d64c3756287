//! What `abide status` says of the feed that is followed, as it was seen last.

use jiff::Timestamp;
use serde::Serialize;

use crate::config::Config;
use crate::feed::memory::{Plan, Seen, pinned};
use crate::image::shown;
use crate::update::report::UpdateReport;
use abide_core::update::machine::Machine;

/// `feed`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FeedReport {
    /// The folder that is followed.
    pub source: String,
    /// When it was looked at last with success; RFC 3339 UTC.
    pub polled: Option<String>,
    /// Why it could not be followed the last time.
    pub error: Option<String>,
    /// The version that is to be installed.
    pub available: Option<String>,
    /// How much of it is here, in percent.
    pub percent: u8,
    /// Why nothing is installed, in one sentence.
    pub waiting: Option<String>,
    /// When that is over, where it is known; RFC 3339 UTC.
    pub until: Option<String>,
    /// The version that somebody has pinned the machine to.
    pub pinned: Option<String>,
}

/// What is remembered of the feed, where one is followed.
#[must_use]
pub fn read(machine: &Machine, config: &Config) -> Option<FeedReport> {
    let source = shown(config.update.source()?);
    let (seen, plan) = (Seen::read(&machine.root), Plan::read(&machine.root));
    let state = machine.state();
    // What has come to its end since is not available any more, whatever was remembered before.
    let is_over = |digest: &str| {
        let ended = state.update.as_ref().filter(|u| u.ended.is_some() || u.verdict.is_some());
        ended.is_some_and(|u| u.digest.as_deref() == Some(digest))
    };
    let download = seen.wanted.as_ref().filter(|wanted| !is_over(&wanted.digest));
    let planned = (!plan.digest.is_empty() && !is_over(&plan.digest) && plan.waiting.is_some())
        .then(|| plan.version.clone());
    Some(FeedReport {
        source,
        polled: seen.polled.and_then(time),
        error: seen.error,
        available: download.map(|wanted| wanted.version.clone()).or(planned),
        percent: download.map_or(0, |wanted| wanted.percent),
        waiting: plan.waiting,
        until: plan.until.and_then(time),
        pinned: pinned(&machine.root).ok().flatten(),
    })
}

fn time(seconds: i64) -> Option<String> {
    Timestamp::from_second(seconds).ok().map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The update in flight, with what the feed adds to it: a download before it, or what it waits for.
#[must_use]
pub fn with_feed(update: Option<UpdateReport>, feed: Option<&FeedReport>) -> Option<UpdateReport> {
    let Some((feed, available)) = feed.and_then(|feed| Some((feed, feed.available.as_ref()?))) else {
        return update;
    };
    let is_open = |u: &UpdateReport| matches!(u.user_status, "UPDATING" | "DOWNLOAD_DONE");
    match update {
        Some(u) if u.version == *available && u.user_status == "DOWNLOAD_DONE" => Some(deferred(u, feed)),
        Some(u) if is_open(&u) => Some(u),
        _ => Some(download(available, feed)),
    }
}

fn deferred(update: UpdateReport, feed: &FeedReport) -> UpdateReport {
    let Some(why) = &feed.waiting else { return update };
    UpdateReport {
        user_status: "UPDATING",
        sub_status: "UPDATE_DEFERRED",
        sub_status_str: why.clone(),
        ..update
    }
}

fn download(version: &str, feed: &FeedReport) -> UpdateReport {
    let update = UpdateReport {
        version: version.to_owned(),
        digest: None,
        tries: 0,
        user_status: "DOWNLOADING",
        sub_status: "DOWNLOAD_INPROGRESS",
        sub_status_progress: feed.percent.into(),
        sub_status_str: format!("Download {}% done", feed.percent),
        sw_err: None,
    };
    match feed.percent {
        0 => deferred(update, feed),
        _ => update,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn feed(percent: u8, waiting: Option<&str>) -> FeedReport {
        FeedReport {
            source: "/srv".into(),
            polled: None,
            error: None,
            available: Some("2.0".into()),
            percent,
            waiting: waiting.map(Into::into),
            until: None,
            pinned: None,
        }
    }

    fn update(version: &str, user_status: &'static str) -> UpdateReport {
        UpdateReport { user_status, sub_status: "NONE", ..download(version, &feed(1, None)) }
    }

    #[track_caller]
    fn says(update: Option<UpdateReport>, feed: &FeedReport, expected: (&str, &str, &str, &str)) {
        let u = with_feed(update, Some(feed)).unwrap();
        assert_eq!((u.version.as_str(), u.user_status, u.sub_status, u.sub_status_str.as_str()), expected);
    }

    #[test]
    fn a_download_is_told_in_eves_words_once_the_update_before_it_is_over() {
        let (at, done) = (feed(42, None), "Download 42% done");
        for before in [None, Some(update("1.0", "UPDATED")), Some(update("1.5", "FAILED"))] {
            says(before, &at, ("2.0", "DOWNLOADING", "DOWNLOAD_INPROGRESS", done));
        }
        let testing = Some(update("1.0", "UPDATING"));
        assert_eq!(with_feed(testing.clone(), Some(&at)).unwrap().version, "1.0");
        assert_eq!(with_feed(testing, None).unwrap().version, "1.0");
        says(None, &feed(0, Some("full")), ("2.0", "UPDATING", "UPDATE_DEFERRED", "full"));
    }

    #[test]
    fn what_is_staged_and_waits_is_deferred_with_the_sentence() {
        let waits = feed(100, Some("no window"));
        says(
            Some(update("2.0", "DOWNLOAD_DONE")),
            &waits,
            ("2.0", "UPDATING", "UPDATE_DEFERRED", "no window"),
        );
        let free = with_feed(Some(update("2.0", "DOWNLOAD_DONE")), Some(&feed(100, None))).unwrap();
        assert_eq!(free.user_status, "DOWNLOAD_DONE");
    }
}
