//! The word by which each kind of refusal is counted.

use crate::error::Refusal;

impl Refusal {
    /// Every [word](Self::word) that there is.
    pub const WORDS: [&'static str; 25] = [
        "bad_request",
        "cancelled",
        "deadline",
        "fork_failed",
        "limit_loosened",
        "limit_queue",
        "limit_reached",
        "limit_starts_per_second",
        "limit_unsupported",
        "limit_workers",
        "no_such_worker",
        "not_permitted",
        "nothing_known",
        "penalised",
        "poisoned",
        "queue_full",
        "reload_failed",
        "shutting_down",
        "system",
        "task_unnamed",
        "template_failed",
        "too_busy",
        "too_many_clients",
        "unknown_pool",
        "upgrade_failed",
    ];

    /// A word for this kind of refusal, by which it is counted. It does not change.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotPermitted { .. } => "not_permitted",
            Self::BadRequest(_) => "bad_request",
            Self::UnknownPool => "unknown_pool",
            Self::NoSuchWorker(_) => "no_such_worker",
            Self::QueueFull { .. } => "queue_full",
            Self::TooBusy { .. } => "too_busy",
            Self::Penalised { .. } => "penalised",
            Self::TooManyClients { .. } => "too_many_clients",
            Self::Deadline { .. } => "deadline",
            Self::Cancelled => "cancelled",
            Self::ShuttingDown => "shutting_down",
            Self::TemplateFailed { .. } => "template_failed",
            Self::ForkFailed { .. } => "fork_failed",
            Self::ReloadFailed(_) => "reload_failed",
            Self::System { .. } => "system",
            Self::NothingKnown(_) => "nothing_known",
            Self::LimitReached { limit, .. } => match limit.as_str() {
                "workers" => "limit_workers",
                "starts_per_second" => "limit_starts_per_second",
                "queue" => "limit_queue",
                _ => "limit_reached",
            },
            Self::LimitLoosened { .. } => "limit_loosened",
            Self::LimitUnsupported { .. } => "limit_unsupported",
            Self::Poisoned { .. } => "poisoned",
            Self::TaskUnnamed => "task_unnamed",
            Self::UpgradeFailed(_) => "upgrade_failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arbitrary::{Arbitrary, Unstructured};

    proptest::proptest! {
        #[test]
        fn every_refusal_has_one_of_the_words(seed in proptest::collection::vec(0u8.., 0..64)) {
            let refusal = Refusal::arbitrary(&mut Unstructured::new(&seed)).expect("filled up");
            assert!(Refusal::WORDS.contains(&refusal.word()), "{refusal:?}");
        }
    }

    #[test]
    fn words_are_in_order_and_those_of_limits_are_keys_of_the_configuration() {
        assert!(Refusal::WORDS.is_sorted_by(|a, b| a < b));
        for bound in crate::bounds::Bound::ALL.into_iter().filter(|bound| !bound.is_of_worker()) {
            let (limit, value, set_in) = (bound.to_string(), String::new(), String::new());
            let refusal = Refusal::LimitReached { limit, value, set_in, waited_ms: 0 };
            assert_eq!(refusal.word(), format!("limit_{}", bound.key()));
        }
    }
}
