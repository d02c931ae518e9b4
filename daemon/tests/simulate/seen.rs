//! Kinds of actions, and how often each was seen: a simulator that never meets a case proves nothing
//! about it.

use mpserverd::core::Action;
use mpserverd_proto::client::Reply;
use mpserverd_proto::error::Refusal;
use std::collections::BTreeMap;

/// How often each kind of action was seen.
pub(crate) type Seen = BTreeMap<&'static str, u64>;

/// Kinds of actions that every series of runs must meet.
pub(crate) const KINDS: &[&str] = &[
    "opened",
    "modules",
    "status",
    "processes",
    "explained",
    "nothing known",
    "deaths",
    "done",
    "reloaded",
    "unknown worker",
    "bad request",
    "deadline",
    "cancelled",
    "shutting down",
    "template failed",
    "fork failed",
    "reload failed",
    "no room",
    "too busy",
    "penalised",
    "hit",
    "grant",
    "build",
    "build without",
    "fork",
    "retire",
    "stop template",
    "kill template",
    "release",
    "signal",
    "forget",
    "look at slow",
    "poisoned",
    "unnamed",
    "settled",
    "start failed",
    "switched",
    "rolled back",
    "proven",
    "limit reached",
    "limit loosened",
    "limit unsupported",
    "limit",
    "measure",
    "ask to end",
    "kill tree",
    "unlimit",
    "stop listening",
    "finished",
    "handed over",
];

/// Which kind an action is of.
pub(crate) fn kind(action: &Action) -> &'static str {
    match action {
        Action::Reply { reply, .. } => kind_of_reply(reply),
        Action::Processes { .. } => "processes",
        Action::Grant { grant, .. } if grant.spare_hit => "hit",
        Action::Grant { .. } => "grant",
        Action::Build { without, .. } if without.is_empty() => "build",
        Action::Build { .. } => "build without",
        Action::Fork { .. } => "fork",
        Action::Retire { .. } => "retire",
        Action::StopTemplate { .. } => "stop template",
        Action::KillTemplate { .. } => "kill template",
        Action::ReleaseSpare { .. } => "release",
        Action::Signal { .. } => "signal",
        Action::Limit { .. } => "limit",
        Action::Measure { .. } => "measure",
        Action::AskToEnd { .. } => "ask to end",
        Action::KillTree { .. } => "kill tree",
        Action::Unlimit { .. } => "unlimit",
        Action::LookAtSlow { .. } => "look at slow",
        Action::ForgetPool { .. } => "forget",
        Action::Settled { .. } => "settled",
        Action::Proven => "proven",
        Action::StartFailed { .. } => "start failed",
        Action::ReloadEnded { switched: true } => "switched",
        Action::ReloadEnded { switched: false } => "rolled back",
        Action::StopListening => "stop listening",
        Action::Finished => "finished",
    }
}

fn kind_of_reply(reply: &Reply) -> &'static str {
    match reply {
        Reply::Opened(_) => "opened",
        Reply::Modules(_) => "modules",
        Reply::Status(_) => "status",
        Reply::Explained(_) => "explained",
        Reply::Refused(Refusal::NothingKnown(_)) => "nothing known",
        Reply::Deaths(_) => "deaths",
        Reply::Done => "done",
        Reply::Reloaded(_) => "reloaded",
        Reply::Refused(Refusal::NoSuchWorker(_)) => "unknown worker",
        Reply::Refused(Refusal::BadRequest(_)) => "bad request",
        Reply::Refused(Refusal::Deadline { .. }) => "deadline",
        Reply::Refused(Refusal::Cancelled) => "cancelled",
        Reply::Refused(Refusal::ShuttingDown) => "shutting down",
        Reply::Refused(Refusal::TemplateFailed { .. }) => "template failed",
        Reply::Refused(Refusal::ForkFailed { .. }) => "fork failed",
        Reply::Refused(Refusal::ReloadFailed(_)) => "reload failed",
        Reply::Refused(Refusal::Poisoned { .. }) => "poisoned",
        Reply::Refused(Refusal::TaskUnnamed) => "unnamed",
        Reply::Refused(Refusal::System { .. }) => "no room",
        Reply::Refused(Refusal::TooBusy { .. }) => "too busy",
        Reply::Refused(Refusal::Penalised { .. }) => "penalised",
        Reply::Refused(Refusal::LimitReached { .. }) => "limit reached",
        Reply::Refused(Refusal::LimitLoosened { .. }) => "limit loosened",
        Reply::Refused(Refusal::LimitUnsupported { .. }) => "limit unsupported",
        other => panic!("the core does not say {other:?}"),
    }
}

/// What an action is about.
pub(crate) trait IsWork {
    fn is_work(&self) -> bool;
}

impl IsWork for Action {
    /// Starts or changes something, where a finished daemon only answers.
    fn is_work(&self) -> bool {
        !matches!(
            self,
            Action::Reply { .. }
                | Action::Processes { .. }
                | Action::ForgetPool { .. }
                | Action::ReleaseSpare { .. }
                | Action::ReloadEnded { .. }
                | Action::Proven
        )
    }
}
