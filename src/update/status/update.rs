//! The status of the update in flight, in EVE's words.

use serde::Serialize;

use crate::update::phase;
use crate::update::status::feed::FeedStatus;
use abide_core::disk::SlotName;
use abide_core::state::{Stage, Update};

/// Why a slot is half written, and by nobody.
const CUT_OFF: &str = "The write did not complete";

/// `update`
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStatus {
    /// Version of the image.
    pub version: String,
    /// SHA-256 of the published image.
    pub digest: Option<String>,
    /// Boots that it is given; 0 before it is applied.
    pub tries: u32,
    /// EVE's BaseOsStatus.
    pub user_status: &'static str,
    /// EVE's BaseOsSubStatus.
    pub sub_status: &'static str,
    /// Seconds of the test window that are left, while testing; percent, while downloading.
    pub sub_status_progress: u64,
    /// The same as text.
    pub sub_status_str: String,
    /// Why it failed.
    pub sw_err: Option<ErrorInfo>,
}

/// `swErr`, EVE's ErrorInfo
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorInfo {
    /// What happened.
    pub description: String,
    /// When; RFC 3339 UTC.
    pub timestamp: String,
    /// Its severity.
    pub severity: &'static str,
    /// What would make another attempt possible.
    pub retry_condition: String,
}

impl UpdateStatus {
    /// The status of the update that the state records. `running` is the slot of this boot, if it is known;
    /// `is_refused`: a failure record forbids the image; `is_cut_off`: nobody writes it any more.
    pub(super) fn new(
        update: &Update,
        running: Option<SlotName>,
        on_trial: bool,
        window_left: u64,
        is_refused: bool,
        is_cut_off: bool,
    ) -> Self {
        let (user_status, sub_status, text) = match update.stage {
            _ if update.verdict.is_some() => ("FAILED", "NONE", String::new()),
            Stage::Writing if is_cut_off => ("FAILED", "NONE", format!("{CUT_OFF}; write it again")),
            Stage::Writing => ("UPDATING", "UPDATE_INITIALIZING", "Initializing update".into()),
            Stage::Staged => ("DOWNLOAD_DONE", "NONE", "Downloaded and verified".into()),
            Stage::Testing if on_trial => {
                ("UPDATING", "UPDATE_TESTING", format!("Testing for {window_left} more seconds"))
            }
            Stage::Applied | Stage::Testing => ("UPDATING", "UPDATE_REBOOTING", "About to reboot".into()),
            Stage::Committed if running == Some(update.slot) => ("UPDATED", "NONE", String::new()),
            Stage::Committed => ("FALLBACK", "NONE", String::new()),
            Stage::Failed => ("FAILED", "NONE", String::new()),
        };
        let testing = sub_status == "UPDATE_TESTING";
        Self {
            version: update.version.clone(),
            digest: update.digest.clone(),
            tries: update.tries,
            user_status,
            sub_status,
            sub_status_progress: if testing { window_left } else { 0 },
            sub_status_str: text,
            sw_err: what_failed(update, is_cut_off).map(|description| ErrorInfo {
                description,
                timestamp: update.ended.clone().unwrap_or_default(),
                severity: "ERROR",
                retry_condition: if is_refused {
                    format!("a newer version, or `abide forget {}`", update.version)
                } else {
                    "write it again".to_owned()
                },
            }),
        }
    }

    /// The update in flight as the feed completes it: with the download before it, or the reason why it waits.
    pub(super) fn with_feed(update: Option<Self>, feed: Option<&FeedStatus>) -> Option<Self> {
        let Some((feed, available)) = feed.and_then(|feed| Some((feed, feed.available.as_ref()?))) else {
            return update;
        };
        let is_open = |u: &Self| matches!(u.user_status, "UPDATING" | "DOWNLOAD_DONE");
        match update {
            Some(u) if u.version == *available && u.user_status == "DOWNLOAD_DONE" => Some(deferred(u, feed)),
            Some(u) if is_open(&u) => Some(u),
            _ => Some(download(available, feed)),
        }
    }
}

fn what_failed(update: &Update, is_cut_off: bool) -> Option<String> {
    if update.stage == Stage::Writing && is_cut_off {
        return Some(CUT_OFF.to_owned());
    }
    let verdict = update.verdict.as_ref()?;
    Some(format!("{} (phase {})", verdict.reason, phase::word(verdict.phase)))
}

fn deferred(update: UpdateStatus, feed: &FeedStatus) -> UpdateStatus {
    let Some(why) = &feed.waiting else { return update };
    UpdateStatus {
        user_status: "UPDATING",
        sub_status: "UPDATE_DEFERRED",
        sub_status_str: why.clone(),
        ..update
    }
}

fn download(version: &str, feed: &FeedStatus) -> UpdateStatus {
    let update = UpdateStatus {
        version: version.to_owned(),
        digest: None,
        tries: 0,
        user_status: "DOWNLOADING",
        sub_status: "DOWNLOAD_INPROGRESS",
        sub_status_progress: feed.percent.into(),
        sub_status_str: format!("Download {}% done", feed.percent),
        sw_err: None,
    };
    if feed.percent == 0 { deferred(update, feed) } else { update }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn feed(percent: u8, waiting: Option<&str>) -> FeedStatus {
        FeedStatus {
            source: "/srv".into(),
            polled: None,
            error: None,
            available: Some("2.0".into()),
            percent,
            waiting: waiting.map(Into::into),
            until: None,
            no_image: false,
            pinned: None,
        }
    }

    fn update(version: &str, user_status: &'static str) -> UpdateStatus {
        UpdateStatus { user_status, sub_status: "NONE", ..download(version, &feed(1, None)) }
    }

    #[track_caller]
    fn says(update: Option<UpdateStatus>, feed: &FeedStatus, expected: (&str, &str, &str, &str)) {
        let u = UpdateStatus::with_feed(update, Some(feed)).unwrap();
        assert_eq!((u.version.as_str(), u.user_status, u.sub_status, u.sub_status_str.as_str()), expected);
    }

    #[test]
    fn a_download_is_told_in_eves_words_once_the_update_before_it_is_over() {
        let (at, done) = (feed(42, None), "Download 42% done");
        for before in [None, Some(update("1.0", "UPDATED")), Some(update("1.5", "FAILED"))] {
            says(before, &at, ("2.0", "DOWNLOADING", "DOWNLOAD_INPROGRESS", done));
        }
        let testing = Some(update("1.0", "UPDATING"));
        assert_eq!(UpdateStatus::with_feed(testing.clone(), Some(&at)).unwrap().version, "1.0");
        assert_eq!(UpdateStatus::with_feed(testing, None).unwrap().version, "1.0");
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
        let free =
            UpdateStatus::with_feed(Some(update("2.0", "DOWNLOAD_DONE")), Some(&feed(100, None))).unwrap();
        assert_eq!(free.user_status, "DOWNLOAD_DONE");
    }
}
