//! A feed that is configured, and not followed, or whose memory is lost at each reboot.

use std::path::Path;

use procfs::process::MountInfo;

use crate::doctor::finding::Finding;
use crate::feed::cache;
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
    if feed.no_image {
        let what = feed.waiting.clone().unwrap_or_else(|| "the feed has no image for this machine".into());
        found.push(
            Finding::warning("feed-no-image", what)
                .because("this machine gets no updates")
                .remedy(
                    "publish images as IMAGE_VERSION.raw.zst or IMAGE_VERSION_ARCH.raw.zst with the machine's IMAGE_ID, or \
                     set image_id in [trust]",
                ),
        );
    }
    found
}

/// The cache of a feed that is gone after a reboot, by the file system that it is on.
pub(super) fn volatile(feed: Option<&FeedStatus>, mounts: &[MountInfo]) -> Option<Finding> {
    feed?;
    let cache = Path::new(cache::DIR);
    let around = mounts.iter().filter(|mount| cache.starts_with(&mount.mount_point));
    // Of several at one place, the last is on top.
    let mount = around.max_by_key(|mount| mount.mount_point.components().count())?;
    is_volatile(mount).then(|| {
        let at = mount.mount_point.display();
        Finding::warning(
            "volatile-cache",
            format!("a feed is configured, and {} is lost at each reboot: {at} is a {}", cache::DIR, mount.fs_type),
        )
        .because(
            "an interrupted download starts again after a reboot, and a pin, an open hawkBit action and events that \
             were not delivered are forgotten",
        )
        .remedy(if lasts_at(mounts, "/opt") {
            "mount a persistent file system at /var/lib/abide, such as a folder below /opt; on EMT, add it to \
             PERSISTENT_BIND_PATHS in /etc/layout.env"
        } else {
            "mount a persistent file system at /var/lib/abide"
        })
    })
}

/// Whether the content is lost at each reboot. An overlay counts where its upper layer is in memory, as far as the options
/// show: the layers of EMT's persistent-mount are in a folder of that name.
fn is_volatile(mount: &MountInfo) -> bool {
    let upper = mount.super_options.get("upperdir").and_then(Option::as_deref).unwrap_or_default();
    match mount.fs_type.as_str() {
        "tmpfs" | "ramfs" => true,
        "overlay" => upper.split('/').any(|folder| folder == "tmpfs"),
        _ => false,
    }
}

/// Whether a file system that lasts is mounted there.
fn lasts_at(mounts: &[MountInfo], place: &str) -> bool {
    mounts
        .iter()
        .rfind(|mount| mount.mount_point == Path::new(place))
        .is_some_and(|mount| !is_volatile(mount))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn feed() -> FeedStatus {
        FeedStatus {
            source: "https://h/".into(),
            polled: None,
            error: None,
            available: None,
            percent: 0,
            waiting: None,
            until: None,
            no_image: false,
            pinned: None,
        }
    }

    #[test]
    fn a_cache_in_memory_is_found_unless_something_lasting_is_mounted_there() {
        let mounts = |lines: &[&str]| -> Vec<MountInfo> {
            lines.iter().map(|line| MountInfo::from_line(line).unwrap()).collect()
        };
        let root = "22 1 8:2 / / ro - erofs /dev/sda2 ro";
        let var = "30 22 0:40 / /var rw - tmpfs tmpfs rw";
        let lasting = "31 30 8:4 / /var/lib/abide rw - ext4 /dev/sda4 rw";
        let found = |lines: &[&str]| volatile(Some(&feed()), &mounts(lines)).is_some();
        assert!(found(&[root, var]));
        assert!(!found(&[root, var, lasting]) && !found(&[root]));
        let emt = "32 22 0:41 / /var rw - overlay overlay rw,lowerdir=/var,upperdir=/sysroot//opt/.mount/tmpfs/var.overlay/var";
        let opt = "33 22 8:3 / /opt rw - ext4 /dev/sda3 rw";
        let remedy = |lines: &[&str]| volatile(Some(&feed()), &mounts(lines)).map(|found| found.remedy);
        assert!(remedy(&[root, opt, emt]).unwrap().contains("PERSISTENT_BIND_PATHS"));
        assert!(!remedy(&[root, var]).unwrap().contains("EMT"));
        assert!(volatile(None, &mounts(&[root, var])).is_none(), "without a feed nothing is lost");
    }

    #[test]
    fn a_feed_is_found_that_nobody_follows_or_that_is_away() {
        let mut feed = feed();
        assert!(look(None, false, 9).is_empty());
        assert!(look(Some(&feed), true, 0).is_empty());
        assert_eq!(look(Some(&feed), false, 0).first().map(|f| f.id), Some("feed-timer"));
        feed.no_image = true;
        assert_eq!(look(Some(&feed), true, 0).first().map(|f| f.id), Some("feed-no-image"));
        feed.no_image = false;
        feed.error = Some("the server answered 503".into());
        assert!(look(Some(&feed), true, 1).is_empty());
        assert!(
            look(Some(&feed), true, 2)
                .first()
                .is_some_and(|f| f.what.contains("2 polls of the feed failed: the server"))
        );
    }
}
