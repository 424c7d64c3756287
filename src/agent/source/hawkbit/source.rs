//! Updates that a hawkBit server orders.
//!
//! What it orders is put into the cache as if it had been published in a folder: a list of digests, and
//! what vouches for it. So everything behind that is the same as with a feed.

use std::collections::BTreeMap;
use std::io::Read;

use jiff::Timestamp;
use log::{info, warn};

use crate::agent::look::{Verdict, Wants};
use crate::agent::next_step::{Wait, Wanted};
use crate::agent::source::hawkbit::ddi::Chunk;
use crate::agent::source::hawkbit::{
    Client, Denied, Deployment, File, Finished, Handling, Here, Milestone, Order, Task, cancel, follow,
};
use crate::agent::survey::Survey;
use crate::agent::{Run, fetch};
use crate::config::update::{Confirm, Target};
use crate::feed::catalog::{Catalog, METADATA};
use crate::feed::policy;
use crate::feed::policy::decide;
use crate::feed::poll;
use crate::image::http::{Place, Resumed, resume};
use crate::image::trust::{SUMS, Sums};
use abide_core::error::{Error, OrError, Result};
use abide_core::state::Stage;

/// What is small enough to be part of the order, and is not installed itself.
const SMALL: [&str; 4] = [SUMS, "SHA256SUMS.minisig", "SHA256SUMS.gpg", METADATA];

/// No more of it is read.
const MOST_SMALL: u64 = 4 << 20;

/// Polls in a row in one run: what was agreed to is ordered the next time.
const MOST_POLLS: usize = 3;

impl Run<'_> {
    /// Asks the server what it wants.
    pub(in crate::agent) fn poll_server(&mut self) -> Result<()> {
        let client = self.client()?;
        self.tell_server(&client);
        for _ in 0..MOST_POLLS {
            let polled = client.poll()?;
            self.ledger.sleep = polled.sleep.map(|sleep| sleep.as_secs());
            self.put_attributes(&client, polled.attributes)?;
            let again = match polled.order {
                None => self.nothing_ordered(),
                Some(Order::Deploy(url)) => self.ordered_by(&client, &url)?,
                Some(Order::Confirm(url)) => self.confirm(&client, &url)?,
                Some(Order::Cancel(url)) => self.cancel(&client, &url)?,
            };
            self.ledger.write(self.root)?;
            self.tell_server(&client);
            if !again {
                break;
            }
        }
        Ok(())
    }

    /// A connection to the server.
    pub(in crate::agent) fn client(&self) -> Result<Client> {
        let config = self.config.update.hawkbit.as_ref();
        let config = config.ok_or_else(|| Error::Failed("no hawkBit server is configured".into()))?;
        Client::new(self.root, config)
    }

    /// Has the server told what it was not told yet. It can wait: it is told the next time.
    pub(in crate::agent) fn tell_server(&mut self, client: &Client) {
        let root = self.root;
        if let Err(e) = client.deliver(&mut self.ledger, |ledger| ledger.write(root)) {
            warn!("{e}; {} messages wait for hawkBit", self.ledger.waiting.len());
        }
    }

    fn put_attributes(&mut self, client: &Client, asked: Option<String>) -> Result<()> {
        let survey = self.survey()?;
        let mut attributes = BTreeMap::from([
            ("abide".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("image".to_owned(), survey.image),
            ("version".to_owned(), survey.version),
            ("arch".to_owned(), crate::update::write::NATIVE.1.to_owned()),
        ]);
        let own = self.config.update.hawkbit.as_ref().map(|hawkbit| hawkbit.attributes.clone());
        attributes.extend(own.unwrap_or_default());
        if asked.is_some() || attributes != self.ledger.attributes {
            client.put_attributes(&asked.unwrap_or_else(|| client.attributes_url()), &attributes)?;
            self.ledger.attributes = attributes;
        }
        Ok(())
    }

    /// The server has dropped the action, or knows already how it ended.
    fn nothing_ordered(&mut self) -> bool {
        if let Some(task) = self.ledger.task.take() {
            info!("hawkBit does not want action {} any more", task.action);
        }
        false
    }

    fn ordered_by(&mut self, client: &Client, url: &str) -> Result<bool> {
        if self.ledger.task.as_ref().is_some_and(|task| task.url == url) {
            return Ok(false);
        }
        let Some(said) = client.deployment(url)? else { return Ok(true) };
        if let Some(task) = self.ledger.task.as_mut().filter(|task| task.action == said.action) {
            url.clone_into(&mut task.url);
            (task.download, task.update, task.window) = (said.download, said.update, said.window);
            return Ok(false);
        }
        // One that this machine has closed, and has not been able to say so.
        if self.ledger.waiting.iter().any(|message| message.action == said.action && message.closes()) {
            return Ok(false);
        }
        let task = self.task(&said, url)?;
        info!("hawkBit orders {} (action {})", task.version, task.action);
        let version = task.version.clone();
        let small = self.fetch_small(client, &task)?;
        self.ledger.task = Some(task);
        self.reached(Milestone::Accepted, Finished::None, vec![format!("{version} is to be installed")]);
        if let Err(e) = self.keep_offer(&said, &small) {
            self.close(Finished::Failure, e.to_string());
        }
        Ok(false)
    }

    fn task(&self, said: &Deployment, url: &str) -> Result<Task> {
        let chunk = self.chunk(said);
        let file = |a: &crate::agent::source::hawkbit::Artifact| {
            (a.name.clone(), File { url: a.url.clone(), sha256: a.sha256.clone(), size: a.size })
        };
        let update = self.survey()?.update;
        Ok(Task {
            action: said.action.clone(),
            url: url.to_owned(),
            version: chunk.map(|chunk| chunk.version.clone()).unwrap_or_default(),
            digest: None,
            files: chunk.map(|chunk| chunk.artifacts.iter().map(file).collect()).unwrap_or_default(),
            download: said.download,
            update: said.update,
            window: said.window,
            told: None,
            waits: None,
            ended_before: update.and_then(|update| update.ended),
        })
    }

    fn chunk<'d>(&self, said: &'d Deployment) -> Option<&'d Chunk> {
        said.part(&self.config.update.hawkbit.as_ref()?.part)
    }

    /// The list of digests and what vouches for it, where they are among the files.
    fn fetch_small(&self, client: &Client, task: &Task) -> Result<BTreeMap<&'static str, Vec<u8>>> {
        let mut small = BTreeMap::new();
        for (name, file) in SMALL.iter().filter_map(|name| Some((*name, task.files.get(*name)?))) {
            let place = Place { url: &file.url, authorization: client.authorization(&file.url) };
            let shown = crate::image::shown(&file.url);
            let Resumed::Rest(source) = resume(&place, &self.limits_for(&file.url, client), 0)? else {
                return Err(Error::Image(format!("{shown}: is ordered, but the server does not have it")));
            };
            let mut bytes = vec![];
            source.reader.take(MOST_SMALL).read_to_end(&mut bytes).or_image(|| shown)?;
            small.insert(name, bytes);
        }
        Ok(small)
    }

    /// Puts what is ordered into the cache, as if it had been published there.
    fn keep_offer(&self, said: &Deployment, small: &BTreeMap<&'static str, Vec<u8>>) -> Result<()> {
        let part = self.config.update.hawkbit.as_ref().map(|h| h.part.clone()).unwrap_or_default();
        let chunk = self
            .chunk(said)
            .ok_or_else(|| Error::Image(format!("it has no software module of the type '{part}'")))?;
        for name in SMALL {
            match small.get(name) {
                Some(bytes) => self.cache.store(name, bytes)?,
                None => self.cache.remove(name)?,
            }
        }
        if !small.contains_key(SUMS) {
            self.cache.store(SUMS, list(chunk).as_bytes())?;
        }
        let folder = self.cache.folder().ok_or_else(|| Error::Failed("the cache cannot be read".into()))?;
        poll::read(&folder, &self.judge).map(drop)
    }

    /// Says whether this machine would install it.
    fn confirm(&mut self, client: &Client, url: &str) -> Result<bool> {
        let Some(said) = client.deployment(url)? else { return Ok(true) };
        let by = self.config.update.hawkbit.as_ref().map(|hawkbit| hawkbit.confirm);
        if by == Some(Confirm::Server) {
            info!("action {} waits for somebody to confirm it at hawkBit", said.action);
            return Ok(false);
        }
        let Err(why) = self.would_take(&said) else {
            client.confirm(&said.action, true, &["agreed to by the machine's policy".into()])?;
            self.ledger.denied = None;
            return Ok(true);
        };
        let denied = Denied { action: said.action, why };
        if self.ledger.denied.as_ref() != Some(&denied) {
            warn!("action {} is denied: {}", denied.action, denied.why);
            client.confirm(&denied.action, false, std::slice::from_ref(&denied.why))?;
            self.ledger.denied = Some(denied);
        }
        // It stays open there, until somebody ends it or the policy changes.
        Ok(false)
    }

    fn would_take(&self, said: &Deployment) -> std::result::Result<(), String> {
        let chunk = self.chunk(said).ok_or("it has no software module for this machine")?;
        let catalog = Catalog::new(&Sums::parse(list(chunk).as_bytes())?, None)?;
        let survey = self.survey().map_err(|e| e.to_string())?;
        match self.decision(&survey, &catalog, &chunk.version, Timestamp::now()).ruling {
            policy::Ruling::Refuse { why } => Err(why),
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, client: &Client, url: &str) -> Result<bool> {
        let Some(action) = client.cancelled(url)? else { return Ok(true) };
        let digest = self.ledger.task.as_ref().and_then(|task| task.digest.clone());
        let update = self.survey()?.update;
        let in_flight = update
            .as_ref()
            .is_some_and(|u| u.digest == digest && matches!(u.stage, Stage::Applied | Stage::Testing));
        // The other part holds the cache's lock from before it looks at the order until the machine goes
        // down: what it has begun shows in its plan.
        let begun = digest.is_some_and(|digest| self.plan.digest == digest && self.plan.begun) || in_flight;
        info!("hawkBit wants action {action} to be ended: {}", if begun { "too late" } else { "it is" });
        cancel(&mut self.ledger, &action, begun, Timestamp::now().as_millisecond());
        Ok(true)
    }

    /// What the policy says of what is ordered.
    pub(in crate::agent) fn ordered(&self, survey: &Survey, now: Timestamp) -> Result<Wants> {
        let Some(task) = &self.ledger.task else {
            return Ok(Wants::nothing(Wait::rest("hawkBit orders nothing")));
        };
        let Some(folder) = self.cache.folder().filter(|_| self.cache.list().is_some()) else {
            return Ok(Wants::nothing(Wait::rest("The order was lost; hawkBit is asked again")));
        };
        let catalog = match poll::read(&folder, &self.judge) {
            Ok(catalog) => catalog,
            Err(e) => return Ok(Wants::verdict(Verdict::Refused(e.to_string()))),
        };
        let decision = self.decision(survey, &catalog, &task.version, now);
        Ok(match decision.ruling.clone() {
            policy::Ruling::Take(candidate) => match self.given_up(survey, &candidate.release) {
                Some(wait) => Wants::verdict(Verdict::Refused(wait.why)),
                None => {
                    let come = self.come(survey, &candidate.release);
                    let skipped =
                        task.download == Handling::Skip && come == crate::agent::next_step::Come::Away;
                    match skipped {
                        true => Wants::nothing(Wait::defer("hawkBit does not want it downloaded yet", None)),
                        false => {
                            Wants { wanted: Wanted::Release(come), candidate: Some(candidate), verdict: None }
                        }
                    }
                }
            },
            policy::Ruling::UpToDate => {
                Wants::verdict(Verdict::Done(format!("{} runs, and is committed", survey.version)))
            }
            policy::Ruling::Wait { why, until } => Wants::nothing(Wait::defer(why, until)),
            policy::Ruling::Refuse { why } => {
                Wants::verdict(Verdict::Refused(with_record(why, &decision, survey)))
            }
        })
    }

    fn decision(
        &self,
        survey: &Survey,
        catalog: &Catalog,
        version: &str,
        now: Timestamp,
    ) -> policy::Decision {
        let releases: Vec<_> = catalog.releases(&survey.image, crate::update::write::NATIVE.1).collect();
        // The module's version may be written in another way than that in the names of its files.
        let version = match releases.as_slice() {
            [only] => only.version.as_str(),
            _ => version,
        };
        let rules = crate::config::Update {
            target: Target::Version(version.to_owned()),
            ..self.config.update.clone()
        };
        decide(&survey.facts(), &rules, catalog, now)
    }

    /// Why the server does not want what is here installed now.
    pub(in crate::agent) fn held_by_server(&self) -> Option<Wait> {
        let task = self.ledger.task.as_ref().filter(|task| task.update == Handling::Skip)?;
        Some(match task.window {
            Some(_) => Wait::defer("Waiting for hawkBit's maintenance window", None),
            None => Wait::defer("Downloaded; hawkBit does not want it installed yet", None),
        })
    }

    /// Follows where the action's update stands.
    pub(in crate::agent) fn follow_order(&mut self, survey: &Survey) {
        let here = Here {
            update: survey.update.as_ref(),
            failures: &survey.failures,
            now_ms: Timestamp::now().as_millisecond(),
        };
        follow(&mut self.ledger, here);
    }

    pub(in crate::agent) fn reached(
        &mut self,
        milestone: Milestone,
        finished: Finished,
        details: Vec<String>,
    ) {
        self.ledger.reached(milestone, Timestamp::now().as_millisecond(), finished, details);
    }

    fn close(&mut self, finished: Finished, why: String) {
        info!("hawkBit: the action ends: {why}");
        self.reached(Milestone::Closed, finished, vec![why]);
    }

    /// Ends the action with what the policy says of it.
    pub(in crate::agent) fn close_with(&mut self, verdict: Verdict) -> Result<()> {
        match verdict {
            Verdict::Done(why) => self.close(Finished::Success, why),
            Verdict::Refused(why) => self.close(Finished::Failure, why),
        }
        self.ledger.write(self.root)?;
        let client = self.client()?;
        self.tell_server(&client);
        Ok(())
    }

    /// Where a file of the action is.
    pub(in crate::agent) fn place_of(&self, name: &str) -> Result<String> {
        let file = self.ledger.task.as_ref().and_then(|task| task.files.get(name));
        file.map(|file| file.url.clone()).ok_or_else(|| {
            Error::Image(format!("{name}: is listed, but is no artifact of what hawkBit orders"))
        })
    }

    /// The limits of a download from there. The server's own certificates are for the server.
    pub(in crate::agent) fn limits_for(&self, url: &str, client: &Client) -> crate::config::Download {
        let mut limits = fetch::limits(self.config);
        let ca = self.config.update.hawkbit.as_ref().and_then(|hawkbit| hawkbit.ca.as_ref());
        if let Some(ca) = ca.filter(|_| client.is_own(url)) {
            limits.ca = Some(self.root.path(ca));
        }
        limits
    }
}

/// With why it failed, where that is why.
fn with_record(why: String, decision: &policy::Decision, survey: &Survey) -> String {
    let failed = decision.passed_over.iter().find(|passed| matches!(passed.why, policy::Why::Failed(_)));
    let record = failed.and_then(|passed| survey.failures.iter().rev().find(|f| f.version == passed.version));
    record.map_or_else(|| why.clone(), |record| format!("{why}\n{}", record.reason))
}

/// The files of a module as a published list has them.
fn list(chunk: &Chunk) -> String {
    let files = chunk.artifacts.iter().filter(|artifact| !SMALL.contains(&artifact.name.as_str()));
    files.map(|artifact| format!("{}  {}\n", artifact.sha256, artifact.name)).collect()
}
