//! `catch_stderr`: whose standard error goes through the daemon.

use super::sandbox::stem;
use super::toml_value::{Misfit, TomlValue, list, quote, text};
use std::fmt;
use std::str::FromStr;
use toml::Spanned;
use toml::de::DeValue;

/// Whose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum CatchStderr {
    /// Nobody's.
    #[default]
    No,
    /// That of every worker.
    All,
    /// That of workers with one of these modules, or of these programs.
    Of(Vec<String>),
}

impl CatchStderr {
    /// Whether that of workers with these modules (or of this program) is caught.
    ///
    /// A module is meant by its name, whether it was asked for by that or by its file.
    #[must_use]
    pub fn catches(&self, names: &[String]) -> bool {
        let is_meant =
            |module: &String| names.iter().any(|name| name == module || stem(name) == module);
        match self {
            Self::No => false,
            Self::All => true,
            Self::Of(modules) => modules.iter().any(is_meant),
        }
    }
}

impl FromStr for CatchStderr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::All),
            "false" => Ok(Self::No),
            names => {
                let names: Vec<_> = names.split(',').map(str::to_owned).collect();
                if names.iter().any(String::is_empty) {
                    return Err("takes true, false or names of modules, as a,b".to_owned());
                }
                Ok(Self::Of(names))
            }
        }
    }
}

impl fmt::Display for CatchStderr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("false"),
            Self::All => f.write_str("true"),
            Self::Of(names) => f.write_str(&names.join(",")),
        }
    }
}

impl TomlValue for CatchStderr {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let found = value.get_ref();
        if let Some(all) = found.as_bool() {
            return Ok(if all { Self::All } else { Self::No });
        }
        if !found.is_array() {
            let reason = format!(
                "takes true, false or a list [..] of modules, this is a TOML {}",
                found.type_str()
            );
            return Err((value.span(), reason));
        }
        let names = list(value, "modules", |item| {
            let name = text(item, "the name of a module")?;
            match name {
                "" => Err((item.span(), "an empty name".to_owned())),
                name => Ok(name.to_owned()),
            }
        })?;
        Ok(if names.is_empty() { Self::No } else { Self::Of(names) })
    }

    fn write(&self) -> Option<String> {
        Some(match self {
            Self::No => "false".to_owned(),
            Self::All => "true".to_owned(),
            Self::Of(names) => {
                let names: Vec<_> = names.iter().map(|name| quote(name)).collect();
                format!("[{}]", names.join(", "))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_meant_by_name() {
        let some: CatchStderr = "thumbs,demo".parse().expect("two names");
        let names = |name: &str| [name.to_owned()];
        assert!(some.catches(&names("thumbs")) && some.catches(&names("demo")));
        assert!(!some.catches(&names("other")) && !some.catches(&[]));
        assert!(CatchStderr::All.catches(&[]) && !CatchStderr::No.catches(&names("thumbs")));
        assert_eq!(some.write().as_deref(), Some(r#"["thumbs", "demo"]"#));
        for text in ["true", "false", "a,b"] {
            assert_eq!(text.parse::<CatchStderr>().expect("right").to_string(), text);
        }
        assert!("a,,b".parse::<CatchStderr>().is_err());
    }
}
