//! What is done about an order of the server. Each ends in an answer with a reason.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use log::{info, warn};

use crate::agent::give_up::MAX_OUTAGES;
use crate::agent::source::hawkbit::assignment;
use crate::agent::source::hawkbit::attributes::{self, Sent};
use crate::agent::source::hawkbit::client::DdiClient;
use crate::agent::source::hawkbit::ddi::{ActionLink, Artifact, Deployment, Order, SoftwareModule};
use crate::agent::source::hawkbit::feedback::{Finished, MAX_FAILED, Milestone};
use crate::agent::source::hawkbit::ledger::{Action, ActionFile, DeniedAction};
use crate::agent::source::hawkbit::progress::answer_cancellation;
use crate::agent::source::hawkbit::source::{HawkbitSource, now_ms};
use crate::agent::survey::Survey;
use crate::agent::view::View;
use crate::config::update::ConfirmBy;
use crate::feed::policy::{Ruling, TrialState};
use crate::feed::poll::{self, Listing};
use crate::image::Folder;
use crate::image::names::SUMS;
use crate::image::trust::signer::is_by_clock;
use abide_core::error::{Error, Result};
use abide_core::state::Stage;

/// The longest pause that a server gets that is overloaded, in milliseconds.
const MAX_PAUSE: i64 = 24 * 60 * 60 * 1000;

impl HawkbitSource<'_> {
    /// Sends the attributes where the server asks for them or they have changed. Whatever becomes of them, the machine
    /// gets its orders. During a trial the version is not settled, and a server may take it for the end of the action.
    pub(super) fn put_attributes(&mut self, client: &DdiClient, url: Option<String>, survey: &Survey) {
        let attributes = attributes::of(survey, &self.settings.attributes);
        let is_new = attributes != self.ledger.attributes;
        if url.is_none() && (!is_new || survey.trial != TrialState::Committed) {
            return;
        }
        // That all are refused says nothing about any of them: the server may be overloaded.
        let are_all_refused = attributes.keys().all(|name| self.ledger.refused.contains(name));
        if is_new || are_all_refused {
            self.ledger.refused.clear();
        }
        let mut sent = attributes.clone();
        sent.retain(|name, _| !self.ledger.refused.contains(name));
        if self.ledger.attributes_after.is_some_and(|after| (0..MAX_PAUSE).contains(&(after - now_ms()))) {
            return;
        }
        self.ledger.attributes_after = None;
        match attributes::send(client, &url.unwrap_or_else(|| client.attributes_url()), &sent) {
            Ok(Sent::Overload(pause)) => {
                warn!("hawkBit is overloaded; the attributes are sent again later");
                let pause = i64::try_from(pause.as_millis()).unwrap_or(MAX_PAUSE);
                self.ledger.attributes_after = Some(now_ms().saturating_add(pause.min(MAX_PAUSE)));
            }
            Ok(Sent::Refused(refused)) => {
                self.ledger.refused.extend(refused);
                self.ledger.attributes = attributes;
            }
            Err(e) => warn!("{e}; the attributes are sent again after the next poll"),
        }
    }

    /// Processes an action; returns whether the server is to be polled again soon.
    pub(super) fn process(
        &mut self,
        client: &DdiClient,
        link: Option<ActionLink>,
        view: &View<'_>,
    ) -> Result<bool> {
        match link {
            None => {
                // The server has dropped the action, or knows how it ended. A trial has an end of its own, which is
                // reported: what the server says meanwhile may follow from the new version that it sees.
                if !self.is_on_trial(view.survey)
                    && let Some(action) = self.ledger.action.take()
                {
                    info!("hawkBit has withdrawn action {}", action.id);
                }
                Ok(false)
            }
            Some(ActionLink::Deploy(url)) => self.deploy(client, &url, view),
            Some(ActionLink::Confirm(url)) => self.confirm(client, &url, view),
            Some(ActionLink::Cancel(url)) => self.cancel(client, &url, view),
        }
    }

    fn deploy(&mut self, client: &DdiClient, url: &str, view: &View<'_>) -> Result<bool> {
        // A list that cannot be read or verified, for one after a power cut, is stored again.
        let is_stored = self.cache.list().is_some()
            && view.cache.folder().is_some_and(|folder| {
                poll::read(&folder, view.verifier).is_ok_and(|listing| self.lists_images(&listing))
            });
        let is_known = self.ledger.action.as_ref().is_some_and(|action| action.url == url);
        // The order that is on trial is answered first.
        let is_complete = is_known && is_stored && !self.needs_links(view);
        if is_complete || self.is_on_trial(view.survey) {
            return Ok(false);
        }
        let Some(order) = client.order(url)? else { return Ok(true) };
        // This machine has closed it, but could not deliver that yet.
        if self.ledger.has_closed(order.action()) {
            return Ok(false);
        }
        let deployment = match order {
            Order::Usable(deployment) => deployment,
            Order::Unusable { action, why } => {
                self.refuse(&action, &why);
                return Ok(false);
            }
        };
        match self.ledger.action.as_mut().filter(|action| action.id == deployment.action && is_stored) {
            Some(action) => {
                url.clone_into(&mut action.url);
                (action.download, action.update, action.window) =
                    (deployment.download, deployment.update, deployment.window);
                if let Some(module) = deployment.part(&self.settings.module_type) {
                    refresh_links(action, module);
                }
            }
            None => self.accept(client, &deployment, url, view)?,
        }
        Ok(false)
    }

    /// Whether an image of the action is still to be downloaded. Its link may be one that is valid for a time only.
    fn needs_links(&self, view: &View<'_>) -> bool {
        let Some(action) = &self.ledger.action else { return false };
        let waiting = view.survey.waiting.as_ref().map(|waiting| &waiting.digest);
        let is_staged = waiting.is_some() && waiting == action.digest.as_ref();
        let mut images = action.files.keys().filter(|name| assignment::is_image(name));
        !is_staged && images.any(|name| !view.cache.has_name(name))
    }

    /// Whether the list that is stored is that of the action.
    pub(super) fn lists_images(&self, listing: &Listing) -> bool {
        self.ledger.action.as_ref().is_none_or(|action| {
            let mut images = action.files.keys().filter(|name| assignment::is_image(name));
            images.all(|name| listing.list.sums.get(name).is_some())
        })
    }

    /// Begins with an order, or refuses it.
    fn accept(
        &mut self,
        client: &DdiClient,
        deployment: &Deployment,
        url: &str,
        view: &View<'_>,
    ) -> Result<()> {
        let part = &self.settings.module_type;
        let Some(module) = deployment.part(part) else {
            let why = format!("the action has no software module of the type '{part}'");
            self.refuse(&deployment.action, &why);
            self.has_no_image = true;
            return Ok(());
        };
        let mut action = self.action(deployment, module, url, view.survey);
        if let Some(known) = self.ledger.action.as_ref().filter(|known| known.id == action.id) {
            (action.digest, action.waits) = (known.digest.clone(), known.waits.clone());
            (action.reported, action.ended_before) = (known.reported, known.ended_before.clone());
        }
        self.has_borrowed_list = self.is_asking_only();
        info!("hawkBit assigns {} (action {})", action.version, action.id);
        match self.obtain(client, module, &action, view) {
            Ok(()) => {
                let is_new = self.ledger.action.as_ref().is_none_or(|known| known.id != action.id);
                self.has_new_order = is_new && !self.is_asking_only();
                let accepted = format!("{} will be installed", action.version);
                self.ledger.unread = None;
                self.ledger.action = Some(action);
                self.reached(Milestone::Accepted, Finished::None, vec![accepted]);
                Ok(())
            }
            // The clock will be set, and a refusal is for good.
            Err(e) if is_by_clock(&e) => Err(e),
            // What could not be fetched may be there later.
            Err(e @ (Error::Image(_) | Error::Failed(_))) => {
                let tries = self.ledger.count_unread(&action.id);
                if tries < MAX_OUTAGES {
                    return Err(e);
                }
                self.refuse(&action.id, &format!("{e} ({tries} tries)"));
                Ok(())
            }
            Err(e) => {
                self.refuse(&action.id, &e.to_string());
                Ok(())
            }
        }
    }

    /// Stores what says which bytes the images of an order must have: the list among its artifacts, else the server's
    /// digests, else the signed list that is published beside the image, else the one that the image carries.
    fn obtain(
        &self,
        client: &DdiClient,
        module: &SoftwareModule,
        action: &Action,
        view: &View<'_>,
    ) -> Result<()> {
        let stored = self.obtain_beside(client, module, action, view);
        let image = module.artifacts.iter().find(|artifact| assignment::is_image(&artifact.name));
        let file = image.and_then(|image| Some((&image.name, action.files.get(&image.name)?)));
        match (stored, file) {
            // That the list beside the image cannot be read says nothing about the one that it carries.
            (Err(error @ (Error::Unverified(_) | Error::Image(_))), Some((name, file)))
                if view.verifier.needs_signature() =>
            {
                let place = self.place_at(file, client);
                match assignment::store_carried(&place, name, &self.cache, view.verifier) {
                    Ok(true) => Ok(()),
                    Err(e @ Error::Unverified(_)) => Err(e),
                    Err(e) if matches!(error, Error::Unverified(_)) => Err(e),
                    Ok(false) | Err(_) => Err(error),
                }
            }
            (stored, _) => stored,
        }
    }

    fn obtain_beside(
        &self,
        client: &DdiClient,
        module: &SoftwareModule,
        action: &Action,
        view: &View<'_>,
    ) -> Result<()> {
        let mut metadata = assignment::Metadata::new();
        for name in assignment::METADATA_FILES {
            if let Some(file) = action.files.get(name) {
                metadata.insert(name, assignment::fetch(&self.place_at(file, client))?);
            }
        }
        let unproven = module.unproven().filter(|_| !metadata.contains_key(SUMS));
        let Some(image) = unproven else {
            return match assignment::store(&self.cache, view.verifier, module, &metadata) {
                // It is all here: it would be the same the next time.
                Err(Error::Image(why)) => Err(Error::Unverified(why)),
                stored => stored,
            };
        };
        let beside = Folder::of(&image.url, &self.context.background_limits());
        let (folder, _) =
            beside.ok_or_else(|| Error::Unverified(format!("{}: has no folder", image.name)))?;
        let folder = folder.with_authorization(client.authorization(&image.url).map(str::to_owned));
        let today = view.clock.now.to_zoned(TimeZone::UTC).date();
        assignment::store_from(&folder, &self.cache, view.verifier, module, today)
    }

    fn action(&self, deployment: &Deployment, module: &SoftwareModule, url: &str, survey: &Survey) -> Action {
        let file = |a: &Artifact| {
            let sha256 = a.sha256.clone().unwrap_or_default();
            (a.name.clone(), ActionFile { url: a.url.clone(), sha256, size: a.size })
        };
        Action {
            id: deployment.action.clone(),
            url: url.to_owned(),
            version: module.version.clone(),
            digest: None,
            files: module.artifacts.iter().map(file).collect(),
            download: deployment.download,
            update: deployment.update,
            window: deployment.window,
            reported: None,
            waits: None,
            ended_before: survey.update.as_ref().and_then(|update| update.ended.clone()),
        }
    }

    fn refuse(&mut self, action: &str, why: &str) {
        if self.is_asking_only() {
            self.note = Some(format!("hawkBit action {action} would be refused: {why}"));
            return;
        }
        warn!("hawkBit action {action} is refused: {why}");
        if self.ledger.action.as_ref().is_some_and(|current| current.id == action) {
            self.ledger.action = None;
        }
        self.ledger.refuse(action, why, now_ms());
    }

    /// Confirms or denies an action.
    fn confirm(&mut self, client: &DdiClient, url: &str, view: &View<'_>) -> Result<bool> {
        let Some(order) = client.order(url)? else { return Ok(true) };
        if self.is_asking_only() {
            self.note = Some(format!("hawkBit action {} waits for its confirmation", order.action()));
            return Ok(false);
        }
        if self.settings.confirm == ConfirmBy::Server {
            info!("action {} waits for its confirmation at hawkBit", order.action());
            return Ok(false);
        }
        let (action, taken) = match order {
            Order::Usable(deployment) => {
                let taken = self.would_take(&deployment, view);
                (deployment.action, taken)
            }
            Order::Unusable { action, why } => (action, Err(why)),
        };
        let Err(why) = taken else {
            self.answer_confirmation(client, &action, true, "confirmed by the machine's policy")?;
            self.ledger.denied = None;
            self.note =
                Some(format!("hawkBit action {action} is confirmed; hawkBit assigns it with the next poll"));
            return Ok(true);
        };
        let denied = DeniedAction { action, why };
        if self.ledger.denied.as_ref() != Some(&denied) {
            warn!("action {} is denied: {}", denied.action, denied.why);
            self.answer_confirmation(client, &denied.action, false, &denied.why)?;
            self.ledger.denied = Some(denied);
        }
        // It stays open at the server until it is canceled there or the policy changes.
        Ok(false)
    }

    /// Sends the answer to a confirmation; at last without its text.
    fn answer_confirmation(
        &mut self,
        client: &DdiClient,
        action: &str,
        agreed: bool,
        why: &str,
    ) -> Result<()> {
        let is_bare = self.ledger.unconfirmed >= MAX_FAILED;
        let sent = client.confirm(action, agreed, why, is_bare);
        self.ledger.unconfirmed = if sent.is_ok() { 0 } else { self.ledger.unconfirmed.saturating_add(1) };
        sent
    }

    fn would_take(&self, deployment: &Deployment, view: &View<'_>) -> std::result::Result<(), String> {
        let module = deployment
            .part(&self.settings.module_type)
            .ok_or("it has no software module for this machine")?;
        // Its releases are known when its list is fetched; what the policy says of them then is the answer.
        if module.unproven().is_some() {
            return Ok(());
        }
        let catalog = assignment::catalog(module)?;
        match self.decision(view.survey, &catalog, &module.version, Timestamp::now()).ruling {
            Ruling::Refuse { why } => Err(why),
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, client: &DdiClient, url: &str, view: &View<'_>) -> Result<bool> {
        let Some(id) = client.cancelled(url)? else { return Ok(true) };
        if self.is_asking_only() {
            self.note = Some(format!("hawkBit cancels action {id}"));
            return Ok(false);
        }
        let digest = self.ledger.action.as_ref().and_then(|action| action.digest.clone());
        let in_flight = view
            .survey
            .update
            .as_ref()
            .is_some_and(|u| u.digest == digest && matches!(u.stage, Stage::Applied | Stage::Testing));
        // The privileged part locks the cache before it reads the action and until the machine goes down. What it
        // has begun is in its state.
        let install = &view.memory.install;
        let begun = digest.is_some_and(|digest| install.digest == digest && install.begun) || in_flight;
        info!("hawkBit cancels action {id}: {}", if begun { "too late" } else { "done" });
        answer_cancellation(&mut self.ledger, &id, begun, now_ms());
        Ok(true)
    }

    /// Whether the update of the action is on trial. Between two tries the previous system may run.
    fn is_on_trial(&self, survey: &Survey) -> bool {
        let digest = self.ledger.action.as_ref().and_then(|action| action.digest.as_ref());
        let update = survey.update.as_ref().filter(|update| update.stage == Stage::Testing);
        update.is_some_and(|update| digest.is_some() && update.digest.as_ref() == digest)
    }
}

/// Takes over the links of an action's files, as far as they are the same files.
fn refresh_links(action: &mut Action, module: &SoftwareModule) {
    for artifact in &module.artifacts {
        let sha256 = artifact.sha256.as_deref().unwrap_or_default();
        if let Some(file) = action.files.get_mut(&artifact.name)
            && (file.sha256.as_str(), file.size) == (sha256, artifact.size)
        {
            artifact.url.clone_into(&mut file.url);
        }
    }
}
