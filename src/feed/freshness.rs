//! Whether a list of images is the newest one that this machine has seen of its folder. Pure.
//!
//! A list that was signed once stays signed: without a memory, a server could go back to one whose releases were
//! withdrawn since, or that was made for another channel.

use std::borrow::Cow;

use crate::image::sha256;
use abide_core::error::{Error, Result};
use abide_core::state::SeenList;
use abide_core::state::bounds::{MAX_LISTS, MAX_NAME};
use jiff::civil::Date;

/// A name as it is remembered: a long or unusual one by its SHA-256.
fn kept_name(name: &str) -> Cow<'_, str> {
    let is_plain = name.chars().all(|c| c.is_ascii_graphic() && c != '"' && c != '\\');
    if is_plain && name.len() <= MAX_NAME {
        return Cow::Borrowed(name);
    }
    Cow::Owned(sha256::of_bytes(name.as_bytes()))
}

/// What the publisher says of a whole feed, at the top of its metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub feed: Option<String>,
    /// The channel that all of it is for.
    pub channel: Option<String>,
    /// The number of this list; it only grows.
    pub serial: Option<u64>,
    /// The last day on which the list may be used, in UTC.
    pub expires: Option<Date>,
}

/// What a list must be, to be accepted from a folder.
#[derive(Debug, Clone)]
pub struct Acceptance<'a> {
    /// The folder: a URL or a path.
    pub source: &'a str,
    /// The name that the feed must have, if the configuration says so.
    pub feed: Option<&'a str>,
    /// The machine's channel; none: any will do.
    pub channel: Option<&'a str>,
    /// The lists that were accepted before.
    pub seen: &'a [SeenList],
    /// Today, in UTC.
    pub today: Date,
}

impl Acceptance<'_> {
    /// Checks a list, by its header and by when it was signed.
    ///
    /// # Errors
    /// [`Error::Unverified`] if it is for another feed or channel, has expired, or is older than one that was accepted.
    pub fn check(&self, header: &Header, signed: Option<u64>) -> Result<()> {
        self.check_header(header)?;
        self.check_age(header, signed)
    }

    fn refuse(&self, why: &str) -> Result<()> {
        Err(Error::Unverified(format!("{}: its list {why}", self.source)))
    }

    /// Checks what the publisher says of a list, whatever was seen before.
    ///
    /// # Errors
    /// [`Error::Unverified`] if it is for another feed or channel, or has expired.
    pub fn check_header(&self, header: &Header) -> Result<()> {
        let refuse = |why: String| self.refuse(&why);
        if let Some(wanted) = self.feed.filter(|wanted| header.feed.as_deref() != Some(*wanted)) {
            return refuse(match &header.feed {
                Some(feed) => format!("is of the feed '{feed}', and [update] feed_name is '{wanted}'"),
                None => format!("does not name its feed, and [update] feed_name is '{wanted}'"),
            });
        }
        if let (Some(of), Some(own)) = (&header.channel, self.channel)
            && of != own
        {
            return refuse(format!("is for the channel '{of}', and this machine follows '{own}'"));
        }
        if let Some(day) = header.expires.filter(|day| *day < self.today) {
            return refuse(format!("expired on {day}; it may hide newer versions"));
        }
        Ok(())
    }

    fn check_age(&self, header: &Header, signed: Option<u64>) -> Result<()> {
        let name = kept_name(self.source);
        let feed = header.feed.as_deref().map(kept_name);
        let is_known = |seen: &&SeenList| {
            seen.name == name || seen.feed.is_some() && seen.feed.as_deref() == feed.as_deref()
        };
        self.seen.iter().filter(is_known).try_for_each(|known| self.check_beside(known, header, signed))
    }

    /// Checks a list beside one that was seen, of this folder or elsewhere of a feed with this name.
    fn check_beside(&self, known: &SeenList, header: &Header, signed: Option<u64>) -> Result<()> {
        let refuse = |why: String| self.refuse(&why);
        if known.feed.is_some()
            && known.feed != header.feed.as_deref().map(|feed| kept_name(feed).into_owned())
        {
            let (was, is) = (known.feed.as_deref(), header.feed.as_deref());
            return refuse(format!(
                "is of the feed '{}', and an earlier one was of '{}'; if that is intended: abide forget --lists",
                is.unwrap_or("(without a name)"),
                was.unwrap_or_default()
            ));
        }
        let older = |what: &str, is: Option<u64>, was: u64| match is {
            Some(is) if is >= was => None,
            Some(_) => Some(format!("is older than one that was seen before, by its {what}")),
            None => Some(format!("has no {what}, and one that was seen before has")),
        };
        let by_serial = known.serial.and_then(|was| older("serial", header.serial, was));
        let by_time = known.signed.and_then(|was| older("signing time", signed, was));
        match by_serial.or(by_time) {
            Some(why) => {
                refuse(format!("{why}: an attacker may hide newer versions; if not: abide forget --lists"))
            }
            None => Ok(()),
        }
    }
}

/// The lists with this one among them, which was accepted; none if nothing changes. A list that is not signed and has no
/// header is not remembered. The lists that the agent follows come last: they are the last to be dropped where there are
/// too many.
#[must_use]
pub fn with_list(
    seen: &[SeenList],
    source: &str,
    header: &Header,
    signed: Option<u64>,
    is_followed: bool,
) -> Option<Vec<SeenList>> {
    let new = SeenList {
        name: kept_name(source).into_owned(),
        feed: header.feed.as_deref().map(|feed| kept_name(feed).into_owned()),
        serial: header.serial,
        signed,
    };
    if (&new.feed, new.serial, new.signed) == (&None, None, None) || seen.contains(&new) {
        return None;
    }
    let mut lists = seen.to_vec();
    match lists.iter_mut().find(|known| known.name == new.name) {
        Some(known) => *known = new,
        None if is_followed => lists.push(new),
        None => {
            let excess = (lists.len() + 1).saturating_sub(MAX_LISTS);
            lists.drain(..excess);
            lists.insert(0, new);
        }
    }
    Some(lists)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header(feed: Option<&str>, serial: Option<u64>) -> Header {
        Header { feed: feed.map(Into::into), serial, ..Header::default() }
    }

    fn check(seen: &[SeenList], source: &str, header: &Header, signed: Option<u64>) -> Result<()> {
        let today = "2026-03-01".parse().unwrap();
        Acceptance { source, feed: None, channel: Some("stable"), seen, today }.check(header, signed)
    }

    fn seen(source: &str, header: &Header, signed: Option<u64>) -> Vec<SeenList> {
        with_list(&[], source, header, signed, true).unwrap()
    }

    #[test]
    fn a_list_that_was_signed_earlier_is_refused_and_the_same_one_is_not() {
        let plain = Header::default();
        let known = seen("https://h/x/", &plain, Some(100));
        assert!(check(&known, "https://h/x/", &plain, Some(100)).is_ok());
        assert!(check(&known, "https://h/x/", &plain, Some(101)).is_ok());
        assert!(check(&known, "https://h/y/", &plain, Some(1)).is_ok(), "another folder");
        for signed in [Some(99), None] {
            let e = check(&known, "https://h/x/", &plain, signed).unwrap_err();
            assert_eq!(e.exit_code(), 7, "{e}");
            assert!(e.to_string().contains("signing time"), "{e}");
        }
    }

    #[test]
    fn a_lower_serial_is_refused_even_where_it_is_signed_later() {
        let known = seen("/images", &header(Some("edge"), Some(7)), Some(100));
        assert!(check(&known, "/images", &header(Some("edge"), Some(8)), Some(101)).is_ok());
        assert!(check(&known, "/images", &header(Some("edge"), Some(6)), Some(102)).is_err());
        assert!(check(&known, "/images", &header(Some("edge"), None), Some(102)).is_err());
        // The feed is followed to another server.
        assert!(check(&known, "/mirror", &header(Some("edge"), Some(6)), Some(102)).is_err());
    }

    #[test]
    fn a_list_of_another_feed_or_channel_is_refused() {
        let known = seen("/images", &header(Some("edge"), None), Some(100));
        for other in [header(Some("lab"), None), header(None, None)] {
            assert!(check(&known, "/images", &other, Some(101)).is_err(), "{other:?}");
        }
        let of_channel = |channel: &str| Header { channel: Some(channel.into()), ..Header::default() };
        assert!(check(&[], "/images", &of_channel("stable"), None).is_ok());
        assert!(check(&[], "/images", &of_channel("beta"), None).is_err());
        let today = "2026-03-01".parse().unwrap();
        let named = Acceptance { source: "/i", feed: Some("edge"), channel: None, seen: &[], today };
        assert!(named.check(&header(Some("edge"), None), None).is_ok());
        assert!(named.check(&header(None, None), None).is_err());
        assert!(named.check(&of_channel("beta"), None).is_err(), "it does not name its feed");
    }

    #[test]
    fn a_name_of_any_kind_is_known_again() {
        let odd = ["/images of the shop", "/é", &"x".repeat(1000)].map(str::to_owned);
        for name in odd {
            let known = seen(&name, &Header::default(), Some(2));
            assert!(known.iter().all(|seen| seen.name.len() == 64));
            assert!(check(&known, &name, &Header::default(), Some(1)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_list_is_valid_on_its_last_day() {
        let until = |day: &str| Header { expires: Some(day.parse().unwrap()), ..Header::default() };
        assert!(check(&[], "/images", &until("2026-03-01"), None).is_ok());
        assert!(check(&[], "/images", &until("2026-02-28"), None).is_err());
    }

    #[test]
    fn a_newer_list_replaces_the_one_of_its_folder_and_no_other() {
        let edge = header(Some("edge"), None);
        let known = seen("/followed", &edge, Some(1));
        let mut lists = with_list(&known, "/followed", &edge, Some(2), true).unwrap();
        assert_eq!(with_list(&lists, "/followed", &edge, Some(2), true), None);
        assert_eq!(with_list(&[], "/unsigned", &Header::default(), None, false), None);
        // What is written by hand drops what was written by hand before.
        for (number, stick) in ["/a", "/b", "/c", "/d"].into_iter().enumerate() {
            let signed = Some(3 + number as u64);
            assert!(check(&lists, stick, &edge, signed).is_ok());
            lists = with_list(&lists, stick, &edge, signed, false).unwrap();
        }
        let names: Vec<&str> = lists.iter().map(|seen| seen.name.as_str()).collect();
        assert_eq!((lists.len(), names.first(), names.last()), (MAX_LISTS, Some(&"/d"), Some(&"/followed")));
        // The followed folder cannot go back, with or without its name.
        assert!(check(&lists, "/followed", &Header::default(), Some(1)).is_err());
        assert!(check(&lists, "/followed", &edge, Some(5)).is_err(), "the stick had a newer one");
    }
}
