//! Reads what the next step follows from.

use jiff::Timestamp;

use crate::agent::context::RunContext;
use crate::agent::goal::{Goal, Subject, Wait};
use crate::agent::mode::Mode;
use crate::agent::next_step::Inputs;
use crate::agent::reboot_lock;
use crate::agent::source::{Demands, UpdateSource};
use crate::agent::survey::Survey;
use crate::agent::timing::{download_at, inhibitor_hold, poll_at, ready_since, window_hold};
use crate::agent::view::View;
use crate::update::WholeMachine;
use abide_core::boot::Access;
use abide_core::error::Result;
use abide_core::update::Machine;

/// The survey of the machine: made now by root, else the one that root has left.
pub fn survey(context: RunContext<'_>) -> Result<Survey> {
    if !context.privileges.is_root() {
        return Survey::read(context.root);
    }
    let machine = Machine::read(context.root, context.config.slots.as_ref(), Access::Read)?;
    Survey::of(&machine, context.config)
}

/// The inputs of the next step.
pub fn observe(view: &View<'_>, source: &dyn UpdateSource) -> Result<Inputs> {
    let context = view.context;
    let rules = &context.config.update;
    // How much of a window an update takes.
    let needs = context.config.assess.test_window;
    let wanted = source.wanted(view)?;
    let digest = match &wanted {
        Goal::Release(candidate, _) => candidate.release.digest.as_str(),
        Goal::Nothing(_) | Goal::Ended(_) => "",
    };
    let demands = source.demands();
    let (fetch, install) = (&view.memory.fetch, &view.memory.install);
    Ok(Inputs {
        now: view.clock.now,
        mode: context.mode,
        privileges: context.privileges,
        polled: view.polled,
        next_poll: next_poll(view, &demands, &wanted),
        download_at: download_at(view.clock, rules, &demands, fetch, digest, needs),
        download_error: fetch.attempts.error_of(digest).map(str::to_owned),
        reboot_hold: reboot_hold(view, &demands, digest),
        confirm: source.may_withdraw() && install.written == Some(fetch.polls),
        reboot_lock: reboot_lock::state(context, digest),
        wanted,
    })
}

/// The time of the next poll: at once where an operator started the run, or the answer to the last one is lost; but once.
fn next_poll(view: &View<'_>, demands: &Demands, wanted: &Goal) -> Option<Timestamp> {
    let context = view.context;
    let now = view.clock.now;
    let is_unusable = matches!(wanted, Goal::Nothing(wait) if wait.subject == Subject::Undecided);
    match (context.mode, view.polled) {
        _ if !context.privileges.network => None,
        (Mode::Scheduled, false) if demands.assigned => Some(now),
        // What was read last cannot be used. Where polls fail, the next one waits nonetheless.
        (Mode::Scheduled, false) if is_unusable && view.memory.fetch.failures == 0 => Some(now),
        (Mode::Scheduled, _) => {
            Some(poll_at(view.clock, &context.config.update, demands, &view.memory.fetch))
        }
        (_, false) => Some(now),
        (_, true) => None,
    }
}

/// Why the machine must not be rebooted now.
fn reboot_hold(view: &View<'_>, demands: &Demands, digest: &str) -> Option<Wait> {
    let context = view.context;
    let (rules, now) = (&context.config.update, view.clock.now);
    let hold = demands.hold.clone().or_else(|| reboot_lock::hold(context, digest, now));
    if hold.is_some() || demands.reboot_now {
        return hold;
    }
    window_hold(rules, now, context.config.assess.test_window).or_else(|| {
        let ready = ready_since(&view.memory.install, digest, now);
        inhibitor_hold(rules, now, &view.survey.held, ready)
    })
}
