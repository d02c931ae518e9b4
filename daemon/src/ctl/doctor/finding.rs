//! What a look found, and how bad it is.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    /// As it should be.
    Ok,
    /// Something optional is not there.
    Note,
    /// It works, at a price.
    Warn,
    /// It does not work.
    Fail,
}

/// One finding. Programs read its id and state; both are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// `area.thing`.
    pub(super) id: &'static str,
    /// How bad it is.
    pub(super) state: State,
    /// What was looked at, for people.
    pub(super) title: &'static str,
    /// What was found.
    pub(super) found: String,
    /// What that costs; empty where all is well.
    pub(super) cost: String,
    /// What to do about it; empty where all is well.
    pub(super) remedy: String,
}

/// What was looked at: a stable id, and a title for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thing(pub(super) &'static str, pub(super) &'static str);

impl Thing {
    /// It is as it should be.
    pub(super) fn ok(self, found: impl Into<String>) -> Finding {
        self.finding(State::Ok, found.into(), "", "")
    }

    /// Something optional is not there.
    pub(super) fn note(self, found: impl Into<String>, cost: &str, remedy: &str) -> Finding {
        self.finding(State::Note, found.into(), cost, remedy)
    }

    /// It works, at a price.
    pub(super) fn warn(self, found: impl Into<String>, cost: &str, remedy: &str) -> Finding {
        self.finding(State::Warn, found.into(), cost, remedy)
    }

    /// It does not work.
    pub(super) fn fail(self, found: impl Into<String>, cost: &str, remedy: &str) -> Finding {
        self.finding(State::Fail, found.into(), cost, remedy)
    }

    fn finding(self, state: State, found: String, cost: &str, remedy: &str) -> Finding {
        let (cost, remedy) = (cost.to_owned(), remedy.to_owned());
        Finding { id: self.0, state, title: self.1, found, cost, remedy }
    }
}

impl Finding {
    /// Whether the daemon can be used in spite of it.
    pub(super) fn is_bearable(&self) -> bool {
        self.state != State::Fail
    }
}

/// States by id, for tests.
#[cfg(test)]
pub(super) fn states(findings: &[Finding]) -> Vec<(&'static str, State)> {
    for finding in findings {
        let explained = !finding.cost.is_empty() && !finding.remedy.is_empty();
        assert_eq!(explained, finding.state != State::Ok, "{finding:?}");
        assert!(!finding.found.is_empty(), "{finding:?}");
    }
    findings.iter().map(|finding| (finding.id, finding.state)).collect()
}
