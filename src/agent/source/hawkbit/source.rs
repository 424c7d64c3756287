//! hawkBit as a source of updates.
//!
//! An assignment is stored in the cache as if its files were published in a folder, so that the rest of the agent
//! handles it as a feed.

use std::time::Duration;

use jiff::Timestamp;
use log::{info, warn};

use crate::agent::context::RunContext;
use crate::agent::goal::{Ending, Goal, ReleaseState, Subject, Wait, WaitingRelease};
use crate::agent::mode::Mode;
use crate::agent::source::hawkbit::client::{DdiClient, Stuck};
use crate::agent::source::hawkbit::ddi::Handling;
use crate::agent::source::hawkbit::feedback::{Finished, Milestone};
use crate::agent::source::hawkbit::ledger::{ActionFile, Ledger};
use crate::agent::source::hawkbit::progress::{UpdateState, queue_progress};
use crate::agent::source::interface::{Demands, FileLocation, News, UpdateSource};
use crate::agent::survey::Survey;
use crate::agent::view::View;
use crate::config::update::{Forced, HawkBit, Target};
use crate::feed::cache::Cache;
use crate::feed::catalog::{Catalog, Release};
use crate::feed::policy::{Decision, Ruling, Why, decide};
use crate::feed::poll;
use crate::image::names::SUMS;
use abide_core::error::{Error, Result};

/// When the server is polled again after an answer that it has to take note of.
const SOON: Duration = Duration::from_secs(30);

/// A hawkBit server.
pub struct HawkbitSource<'a> {
    pub(super) context: RunContext<'a>,
    pub(super) settings: &'a HawkBit,
    pub(super) cache: Cache,
    pub(super) ledger: Ledger,
    /// Why nothing is installed of what this run's poll has brought.
    pub(super) note: Option<String>,
    /// In a check: whether the list of an order is in the cache that is not remembered.
    pub(super) has_borrowed_list: bool,
    /// Whether this run has accepted an order that it did not know.
    pub(super) has_new_order: bool,
    /// Whether the note is about an order without an image for this machine.
    pub(super) has_no_image: bool,
    /// The answers that this run could not deliver.
    stuck: Vec<Stuck>,
}

impl<'a> HawkbitSource<'a> {
    /// The server of these settings.
    pub fn new(context: RunContext<'a>, settings: &'a HawkBit, cache: Cache) -> Self {
        Self {
            context,
            settings,
            cache,
            ledger: Ledger::default(),
            note: None,
            has_borrowed_list: false,
            has_new_order: false,
            has_no_image: false,
            stuck: vec![],
        }
    }

    /// Whether the server is told anything, and what it orders is remembered. A check asks only.
    pub(super) fn is_asking_only(&self) -> bool {
        self.context.mode == Mode::Check
    }

    pub(super) fn client(&self) -> Result<DdiClient> {
        DdiClient::new(self.context.root, self.settings)
    }

    /// Delivers the waiting feedback, as far as the server takes them now.
    pub(super) fn deliver(&mut self, client: &DdiClient) {
        if self.is_asking_only() {
            return;
        }
        let root = self.context.root;
        if let Err(e) = client.deliver(&mut self.ledger, &mut self.stuck, |ledger| ledger.write(root)) {
            warn!("{e}; feedback items that wait for hawkBit: {}", self.ledger.waiting.len());
        }
    }

    pub(super) fn decision(
        &self,
        survey: &Survey,
        catalog: &Catalog,
        version: &str,
        now: Timestamp,
    ) -> Decision {
        let system = survey.system();
        // A list that was published beside the image may have others, too.
        let is_ordered = |release: &&Release| {
            self.ledger
                .action
                .as_ref()
                .is_none_or(|action| release.files.files().all(|file| action.files.contains_key(&file.name)))
        };
        let releases: Vec<_> = catalog.releases(&system.image, &system.arch).filter(is_ordered).collect();
        // The version of the module may be spelled differently from that in the file names.
        let version = match releases.as_slice() {
            [only] => only.version.as_str(),
            _ => version,
        };
        let target = Target::Version(version.to_owned());
        let rules = crate::config::Update { target, ..self.context.config.update.clone() };
        decide(&system, &rules, catalog, now)
    }

    /// What to do about a release that the policy takes.
    fn wanted_release(&self, decision: Decision, skip_download: bool, view: &View<'_>) -> Goal {
        match decision.ruling.clone() {
            Ruling::Take(candidate) => {
                if let Some(wait) = view.given_up(&candidate.release) {
                    return Goal::Ended(Ending::Refused(wait.why));
                }
                let state = view.state_of(&candidate.release);
                if skip_download && state == ReleaseState::Remote {
                    Goal::Nothing(Wait::defer("hawkBit does not allow the download yet", None))
                } else {
                    Goal::Release(*candidate, state)
                }
            }
            Ruling::UpToDate => {
                Goal::Ended(Ending::Done(format!("{} runs and is committed", view.survey.version)))
            }
            Ruling::Wait { why, until } => {
                let version = self.ledger.action.as_ref().map(|action| action.version.clone());
                let release = version.map(|version| WaitingRelease { version, digest: None });
                Goal::Nothing(Wait::defer(why, until).of(release))
            }
            Ruling::Refuse { why } if !decision.has_image => {
                let why = why.replacen("The feed", "The order", 1);
                if self.is_asking_only() {
                    Goal::Nothing(Wait::idle(why).about(Subject::NoImage))
                } else {
                    Goal::Ended(Ending::Refused(why))
                }
            }
            Ruling::Refuse { why } => Goal::Ended(Ending::Refused(with_record(why, &decision, view.survey))),
        }
    }

    pub(super) fn place_at(&self, file: &ActionFile, client: &DdiClient) -> FileLocation {
        let url = file.url.as_str();
        let mut limits = self.context.background_limits();
        limits.max_size = limits.max_size.min(file.size);
        // The certificates of the settings are for the server itself, not for other hosts of artifacts.
        if let Some(ca) = self.settings.ca.as_ref().filter(|_| client.is_own(url)) {
            limits.ca = Some(self.context.root.path(ca));
        }
        FileLocation {
            url: url.to_owned(),
            authorization: client.authorization(url).map(str::to_owned),
            len: Some(file.size),
            limits,
        }
    }

    pub(super) fn reached(&mut self, milestone: Milestone, finished: Finished, details: Vec<String>) {
        self.ledger.reached(milestone, now_ms(), finished, details);
    }

    fn close(&mut self, finished: Finished, why: String) {
        if finished == Finished::Failure {
            warn!("hawkBit action closed: {why}");
        } else {
            info!("hawkBit action closed: {why}");
        }
        self.reached(Milestone::Closed, finished, vec![why]);
    }

    /// Reports a milestone at once.
    fn report_now(&mut self, milestone: Milestone, detail: &str) -> Result<()> {
        let client = self.client()?;
        self.reached(milestone, Finished::None, vec![detail.to_owned()]);
        self.deliver(&client);
        Ok(())
    }

    /// Reports what has happened since the last run.
    fn catch_up(&mut self, survey: &Survey) -> Result<()> {
        let state =
            UpdateState { update: survey.update.as_ref(), failures: &survey.failures, now_ms: now_ms() };
        queue_progress(&mut self.ledger, state);
        self.save()?;
        if !self.ledger.waiting.is_empty() {
            let client = self.client()?;
            self.deliver(&client);
        }
        Ok(())
    }
}

impl UpdateSource for HawkbitSource<'_> {
    fn may_withdraw(&self) -> bool {
        true
    }

    fn has_new_order(&self) -> bool {
        self.has_new_order
    }

    fn load(&mut self) {
        self.ledger = Ledger::read(self.context.root);
    }

    fn save(&self) -> Result<()> {
        if self.has_borrowed_list {
            // The next run takes the order, and stores its list, as if this one had not been.
            self.cache.remove(SUMS)?;
        }
        if self.is_asking_only() {
            return Ok(());
        }
        self.ledger.write(self.context.root)
    }

    fn demands(&self) -> Demands {
        let action = self.ledger.action.as_ref();
        let hold =
            action.filter(|action| action.update == Handling::Skip).map(|action| match action.window {
                Some(_) => Wait::defer("Waiting for hawkBit's maintenance window", None),
                None => Wait::defer("Downloaded; hawkBit does not allow the installation yet", None),
            });
        let is_forced = action.is_some_and(|action| action.update == Handling::Forced);
        Demands {
            assigned: action.is_some(),
            interval: self.ledger.sleep.map(Duration::from_secs),
            download_now: action.is_some_and(|action| action.download == Handling::Forced),
            hold,
            reboot_now: is_forced && self.settings.forced == Forced::Now,
        }
    }

    fn poll(&mut self, view: &View<'_>) -> Result<()> {
        let client = self.client()?;
        self.deliver(&client);
        let reply = client.poll()?;
        self.ledger.sleep = reply.sleep.map(|sleep| sleep.as_secs());
        if !self.is_asking_only() {
            self.put_attributes(&client, reply.attributes, view.survey);
        }
        if self.process(&client, reply.action, view)? {
            let sleep = self.ledger.sleep.unwrap_or(u64::MAX);
            self.ledger.sleep = Some(sleep.min(SOON.as_secs()));
        }
        if !self.is_asking_only() {
            self.save()?;
        }
        self.deliver(&client);
        Ok(())
    }

    fn wanted(&self, view: &View<'_>) -> Result<Goal> {
        if let Some(note) = &self.note {
            let subject = if self.has_no_image { Subject::NoImage } else { Subject::Undecided };
            return Ok(Goal::Nothing(Wait::idle(note.as_str()).about(subject)));
        }
        let Some(action) = &self.ledger.action else {
            return Ok(Goal::Nothing(Wait::idle("No hawkBit action assigned")));
        };
        let Some(folder) = view.cache.folder().filter(|_| view.cache.list().is_some()) else {
            return Ok(Goal::Nothing(Wait::undecided(
                "The assignment is not in the cache; waiting for the next poll",
            )));
        };
        let catalog = match poll::read(&folder, view.verifier) {
            Ok(listing) if !view.polled && !self.lists_images(&listing) => {
                return Ok(Goal::Nothing(Wait::undecided("The stored list is not that of the assignment")));
            }
            Ok(listing) => listing.catalog,
            // The next poll stores it again, or refuses it.
            Err(e) => return Ok(Goal::Nothing(Wait::undecided(e.to_string()))),
        };
        let decision = self.decision(view.survey, &catalog, &action.version, view.clock.now);
        Ok(self.wanted_release(decision, action.download == Handling::Skip, view))
    }

    fn place(&self, file: &str) -> Result<FileLocation> {
        let found = self.ledger.action.as_ref().and_then(|action| action.files.get(file));
        let found = found.ok_or_else(|| {
            Error::Image(format!("{file}: is in {}, but is not an artifact of the action", SUMS))
        })?;
        Ok(self.place_at(found, &self.client()?))
    }

    fn report(&mut self, news: News<'_>) -> Result<()> {
        match news {
            News::Machine(survey) => self.catch_up(survey)?,
            News::Selected(release) => {
                if let Some(action) = &mut self.ledger.action {
                    action.digest = Some(release.digest.clone());
                }
            }
            News::Downloading => self.report_now(Milestone::Downloading, "download started")?,
            News::Downloaded => self.report_now(Milestone::Downloaded, "downloaded and verified")?,
            News::Deferred(why) => {
                if self.ledger.action.is_some() {
                    self.ledger.waits(why, now_ms());
                    let client = self.client()?;
                    self.deliver(&client);
                }
            }
            // Delivered by the next run.
            News::Failed(why) => self.reached(Milestone::Closed, Finished::Failure, vec![why.to_owned()]),
            News::Ended(ending) => {
                let finished = match ending {
                    Ending::Done(_) => Finished::Success,
                    Ending::Refused(_) => Finished::Failure,
                };
                self.close(finished, ending.why().to_owned());
                self.save()?;
                let client = self.client()?;
                self.deliver(&client);
            }
        }
        Ok(())
    }
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}

/// Adds the reason of the failure record, where the policy refuses because of one.
fn with_record(why: String, decision: &Decision, survey: &Survey) -> String {
    let failed = decision.passed_over.iter().find(|passed| matches!(passed.why, Why::Failed(_)));
    let record = failed.and_then(|passed| survey.failures.iter().rev().find(|f| f.version == passed.version));
    record.map_or_else(|| why.clone(), |record| format!("{why}\n{}", record.reason))
}
