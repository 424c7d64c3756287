//! A feed: a published folder of images, on a web server or on this machine.

use std::path::Path;

use crate::agent::context::RunContext;
use crate::agent::goal::{Goal, ReleaseState, Subject, Wait, WaitingRelease};
use crate::agent::mode::Mode;
use crate::agent::source::interface::{FileLocation, Lessons, UpdateSource};
use crate::agent::view::View;
use crate::feed::catalog::Catalog;
use crate::feed::freshness::{Acceptance, with_list};
use crate::feed::policy::{Ruling, RunningSystem, decide};
use crate::feed::poll::{self, Listing};
use crate::feed::rollout::Turn;
use crate::image::Folder;
use crate::image::trust::{KEY_LIST, KeyList};
use crate::secret::Secret;
use abide_core::error::{Error, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A feed.
pub struct FeedSource<'a> {
    context: RunContext<'a>,
    folder: Folder,
    /// The folder's URL or path, for the memory of its lists.
    name: String,
    /// The value of the header `Authorization`.
    authorization: Option<String>,
}

impl<'a> FeedSource<'a> {
    /// The feed at `place`: a URL, with or without a `/` at its end, or a path of this machine.
    ///
    /// # Errors
    /// [`Error::Image`] if there is no such folder.
    pub fn new(context: RunContext<'a>, place: &str) -> Result<Self> {
        let limits = context.background_limits();
        let folder = if place.contains("://") {
            Folder::at(place, &limits).or_else(|| Folder::at(&format!("{place}/"), &limits))
        } else {
            Folder::at(&context.root.path(place).to_string_lossy(), &limits)
        };
        let folder = folder
            .ok_or_else(|| Error::Image(format!("{}: the feed is not a folder", crate::url::shown(place))))?;
        let secret = context.config.update.feed_auth.as_deref().filter(|_| context.privileges.network);
        let secret = secret.map(|file| Secret::read(context.root, Path::new(file))).transpose()?;
        let authorization = secret.map(|secret| secret.authorization());
        let folder = folder.with_authorization(authorization.clone());
        let name = folder.identity();
        Ok(Self { context, folder, name, authorization })
    }

    /// What a list must be to be accepted.
    fn acceptance<'v>(&'v self, view: &'v View<'_>) -> Acceptance<'v> {
        let rules = &self.context.config.update;
        Acceptance {
            source: &self.name,
            feed: rules.feed_name.as_deref(),
            channel: Some(&rules.channel),
            seen: &view.survey.lists,
            today: view.clock.now.to_zoned(TimeZone::UTC).date(),
        }
    }

    /// The releases of a folder, if its list is accepted.
    fn read(&self, folder: &Folder, view: &View<'_>) -> Result<Listing> {
        let listing = poll::read(folder, view.verifier)?;
        self.acceptance(view).check(&listing.catalog.header, listing.list.signed_at())?;
        // A list of keys that cannot be used may revoke the one that has signed.
        if let Some(keys) = poll::read_key_list(folder, &listing)? {
            KeyList::parse(KEY_LIST, &keys)
                .map_err(|e| Error::Unverified(format!("{folder}: its {KEY_LIST}: {e}")))?;
        }
        Ok(listing)
    }

    /// The folder that was read by the last poll; none before the first one.
    fn last_read(&self, view: &View<'_>) -> Result<Option<Folder>> {
        if self.folder.is_remote() {
            Ok(view.cache.folder().filter(|_| view.cache.list().is_some()))
        } else {
            self.folder.clone().with_own_list(Some(&view.survey.image), None).map(Some)
        }
    }

    /// What is known of a release that is not taken.
    fn waiting_release(&self, catalog: &Catalog, version: &str, view: &View<'_>) -> WaitingRelease {
        let system = self.system(view);
        let release =
            catalog.releases(&system.image, &system.arch).find(|release| release.version == version);
        WaitingRelease { version: version.to_owned(), digest: release.map(|release| release.digest.clone()) }
    }

    /// What the policy decides from.
    fn system(&self, view: &View<'_>) -> RunningSystem {
        let polled = view.memory.fetch.polled.and_then(|second| Timestamp::from_second(second).ok());
        let turn = Turn {
            machine: view.clock.machine_id.clone(),
            // A folder of this machine is read right now.
            listed: polled.filter(|_| self.folder.is_remote()),
            early: self.context.early,
        };
        RunningSystem { turn, ..view.survey.system() }
    }
}

impl UpdateSource for FeedSource<'_> {
    fn local_folder(&self) -> Option<String> {
        (!self.folder.is_remote()).then(|| self.folder.place())
    }

    fn poll(&mut self, view: &View<'_>) -> Result<()> {
        if self.folder.is_remote() {
            poll::poll(&self.folder, view.cache, view.verifier, &self.acceptance(view)).map(drop)
        } else {
            self.last_read(view)?.map_or(Ok(()), |folder| self.read(&folder, view).map(drop))
        }
    }

    fn wanted(&self, view: &View<'_>) -> Result<Goal> {
        let Some(folder) = self.last_read(view)? else {
            return Ok(Goal::Nothing(Wait::undecided("The feed has not been polled yet")));
        };
        let catalog = match self.read(&folder, view) {
            Ok(listing) => listing.catalog,
            // The poll that comes first fetches a new list.
            Err(e) if self.context.privileges.network && !view.polled => {
                return Ok(Goal::Nothing(Wait::undecided(e.to_string())));
            }
            Err(e) => return Err(e),
        };
        let rules = &self.context.config.update;
        let system = self.system(view);
        let decision = decide(&system, rules, &catalog, view.clock.now);
        let passed = decision.note.as_ref().or(decision.passed_over.first());
        let waiting = passed.map(|passed| self.waiting_release(&catalog, &passed.version, view));
        Ok(match decision.ruling {
            Ruling::Take(candidate) => match view.given_up(&candidate.release) {
                Some(wait) => Goal::Nothing(wait),
                None => {
                    let state = view.state_of(&candidate.release);
                    let is_here = state == ReleaseState::Remote && !self.folder.is_remote();
                    Goal::Release(*candidate, if is_here { ReleaseState::Fetched } else { state })
                }
            },
            Ruling::UpToDate => Goal::Nothing(match decision.note {
                Some(note) => {
                    Wait::idle(format!("Nothing to install: {note}")).about(Subject::Held).of(waiting)
                }
                None => match catalog.unusable.newer(&system.image, &system.arch, &system.version) {
                    Some(newer) => {
                        let listed = catalog.listed();
                        let why = format!("{newer} is listed, but cannot be used; {listed}");
                        Wait::idle(format!("Nothing to install: {why}")).about(Subject::Held)
                    }
                    None => Wait::idle("Up to date").about(Subject::UpToDate),
                },
            }),
            Ruling::Wait { why, until } => Goal::Nothing(Wait::defer(why, until).of(waiting)),
            Ruling::Refuse { why } if !decision.has_image => {
                Goal::Nothing(Wait::idle(why).about(Subject::NoImage))
            }
            Ruling::Refuse { why } => Goal::Nothing(Wait::defer(why, None).of(waiting)),
        })
    }

    fn lessons(&self, view: &View<'_>) -> Lessons {
        let read = self
            .last_read(view)
            .ok()
            .flatten()
            .and_then(|folder| Some((self.read(&folder, view).ok()?, folder)));
        let Some((listing, folder)) = read else { return Lessons::default() };
        let (header, signed) = (&listing.catalog.header, listing.list.signed_at());
        // Only who may sign images may change the keys.
        let is_signed = !listing.list.signers.is_empty();
        let keys = is_signed.then(|| poll::read_key_list(&folder, &listing).ok()).flatten().flatten();
        Lessons { lists: with_list(&view.survey.lists, &self.name, header, signed, true), keys }
    }

    fn list_name(&self) -> Option<&str> {
        Some(&self.name)
    }

    fn place(&self, file: &str) -> Result<FileLocation> {
        let limits = match self.context.mode {
            Mode::Scheduled => self.context.background_limits(),
            _ => self.context.config.download.clone(),
        };
        let (url, authorization) = (self.folder.join(file), self.authorization.clone());
        Ok(FileLocation { url, authorization, len: None, limits })
    }
}
