//! `[admission]`: who is refused early, and who is penalised.

use super::table::{Table, entry};
use super::toml_value::{Misfit, TomlValue};
use crate::core::{Admission, EarlyRefusal};
use std::collections::BTreeSet;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// A penalty of a day is forgotten by nobody.
const DAY: Duration = Duration::from_secs(86_400);
/// Users that can be remembered at most: a row each.
const PENALISED: std::ops::RangeInclusive<u64> = 1..=65_536;

/// The table as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionTable {
    early_refusal: Early,
    penalty: Duration,
    penalty_min: Duration,
    penalty_max: Duration,
    good_conduct: Duration,
    penalised_max: u64,
    exempt: Exempt,
}

/// When requests are refused early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Early(Option<EarlyRefusal>);

/// Users to whom nothing applies: `root`, `daemon` (who runs it), or numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exempt(Vec<String>);

impl Default for AdmissionTable {
    fn default() -> Self {
        let core = Admission::usual();
        Self {
            early_refusal: Early(core.early_refusal),
            penalty: core.penalty,
            penalty_min: core.penalty_min,
            penalty_max: core.penalty_max,
            good_conduct: core.good_conduct,
            penalised_max: core.penalised_max as u64,
            exempt: Exempt(vec!["root".to_owned(), "daemon".to_owned()]),
        }
    }
}

impl AdmissionTable {
    /// As the core wants it.
    pub(super) fn rules(&self) -> Admission {
        Admission {
            early_refusal: self.early_refusal.0,
            penalty: self.penalty,
            penalty_min: self.penalty_min,
            penalty_max: self.penalty_max,
            good_conduct: self.good_conduct,
            penalised_max: usize::try_from(self.penalised_max).unwrap_or(usize::MAX),
            exempt: self.exempt.uids(),
        }
    }

    fn check(&self) -> Result<(), String> {
        for (key, time) in [
            ("penalty", self.penalty),
            ("penalty_min", self.penalty_min),
            ("penalty_max", self.penalty_max),
            ("good_conduct", self.good_conduct),
        ] {
            if time > DAY {
                return Err(format!("`{key}` is more than a day"));
            }
        }
        if self.good_conduct.is_zero() {
            return Err("`good_conduct` of nothing would forgive everything at once".to_owned());
        }
        if self.penalty_min > self.penalty_max || self.penalty > self.penalty_max {
            return Err("`penalty` and `penalty_min` must not be above `penalty_max`".to_owned());
        }
        if !PENALISED.contains(&self.penalised_max) {
            let (low, high) = PENALISED.into_inner();
            let value = self.penalised_max;
            return Err(format!("`penalised_max`: {value} is not within {low} and {high}"));
        }
        Ok(())
    }
}

impl TomlValue for AdmissionTable {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let mut table = Table::of(value)?;
        let mut read = Self::default();
        table.read("early_refusal", &mut read.early_refusal)?;
        table.read("penalty", &mut read.penalty)?;
        table.read("penalty_min", &mut read.penalty_min)?;
        table.read("penalty_max", &mut read.penalty_max)?;
        table.read("good_conduct", &mut read.good_conduct)?;
        table.read("penalised_max", &mut read.penalised_max)?;
        table.read("exempt", &mut read.exempt)?;
        table.end()?;
        read.check().map_err(|reason| (value.span(), reason))?;
        Ok(read)
    }

    fn write(&self) -> Option<String> {
        let entries = [
            entry("early_refusal", &self.early_refusal),
            entry("penalty", &self.penalty),
            entry("penalty_min", &self.penalty_min),
            entry("penalty_max", &self.penalty_max),
            entry("good_conduct", &self.good_conduct),
            entry("penalised_max", &self.penalised_max),
            entry("exempt", &self.exempt),
        ];
        Some(format!("{{ {} }}", entries.into_iter().flatten().collect::<Vec<_>>().join(", ")))
    }
}

impl TomlValue for Early {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let wrong = || (value.span(), "takes \"BEGIN:PERCENT:FULL\", or \"off\"".to_owned());
        let text = value.get_ref().as_str().ok_or_else(wrong)?;
        if text == "off" {
            return Ok(Self(None));
        }
        let numbers = text.split(':').map(|part| part.parse().ok());
        let numbers = numbers.collect::<Option<Vec<u32>>>().ok_or_else(wrong)?;
        let [begin, rate, full] = <[u32; 3]>::try_from(numbers).map_err(|_| wrong())?;
        if rate > 100 || begin > full || full == 0 {
            let reason = format!("\"{text}\": PERCENT is 100 at most, and BEGIN is not above FULL");
            return Err((value.span(), reason));
        }
        Ok(Self(Some(EarlyRefusal { begin, rate, full })))
    }

    fn write(&self) -> Option<String> {
        Some(match self.0 {
            None => "\"off\"".to_owned(),
            Some(EarlyRefusal { begin, rate, full }) => format!("\"{begin}:{rate}:{full}\""),
        })
    }
}

impl Exempt {
    fn uids(&self) -> BTreeSet<u32> {
        let uid = |name: &String| match name.as_str() {
            "root" => Some(0),
            "daemon" => own_uid(),
            number => number.parse().ok(),
        };
        self.0.iter().filter_map(uid).collect()
    }
}

#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "other systems have no such number")]
fn own_uid() -> Option<u32> {
    Some(nix::unistd::geteuid().as_raw())
}

#[cfg(not(unix))]
fn own_uid() -> Option<u32> {
    None
}

impl TomlValue for Exempt {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let names = Vec::<String>::read(value)?;
        let good = |name: &&String| {
            matches!(name.as_str(), "root" | "daemon") || name.parse::<u32>().is_ok()
        };
        match names.iter().find(|name| !good(name)) {
            Some(name) => {
                let reason = format!("`{name}` is neither \"root\", \"daemon\" nor a uid");
                Err((value.span(), reason))
            }
            None => Ok(Self(names)),
        }
    }

    fn write(&self) -> Option<String> {
        self.0.write()
    }
}
