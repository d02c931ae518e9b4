//! How each type of value stands in the file: read from it, and written by `--check`.

use super::values::{self, Choice, LogFormat, LogLevel, Spares};
use crate::core::PoisonRule;
use mpserverd_proto::client::StopPolicy;
use mpserverd_proto::template::OnPreloadError;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// Why a value is refused, and the bytes of the file that are to blame.
pub type Misfit = (Range<usize>, String);

/// A value that the file can hold.
pub trait TomlValue: Sized {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// Says what would have been right.
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit>;

    /// Reads it, with everything that is wrong; never an empty list of it.
    ///
    /// # Errors
    ///
    /// Says what would have been right, for each fault.
    fn read_all(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Misfit>> {
        Self::read(value).map_err(|misfit| vec![misfit])
    }

    /// Turns places in the file, as bytes, into lines, for values that remember them.
    fn place(&mut self, _line_of: &dyn Fn(usize) -> usize) {}

    /// Writes it; `None` if it is not set.
    fn write(&self) -> Option<String>;
}

pub(super) fn text<'v>(value: &'v Spanned<DeValue<'_>>, what: &str) -> Result<&'v str, Misfit> {
    let found = value.get_ref();
    found.as_str().ok_or_else(|| {
        (value.span(), format!("takes {what} in quotes, this is a TOML {}", found.type_str()))
    })
}

fn from_text<T>(
    value: &Spanned<DeValue<'_>>,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, Misfit> {
    parse(text(value, what)?).map_err(|reason| (value.span(), reason))
}

pub(super) fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// A path of the file: absolute, because a daemon has no directory of its own.
fn path(value: &Spanned<DeValue<'_>>) -> Result<PathBuf, Misfit> {
    let path = Path::new(text(value, "an absolute path")?);
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Err((value.span(), format!("`{}` is not an absolute path", path.display())))
}

pub(super) fn list<T>(
    value: &Spanned<DeValue<'_>>,
    what: &str,
    item: impl Fn(&Spanned<DeValue<'_>>) -> Result<T, Misfit>,
) -> Result<Vec<T>, Misfit> {
    let found = value.get_ref();
    let array = found.as_array().ok_or_else(|| {
        (value.span(), format!("takes a list [..] of {what}, this is a TOML {}", found.type_str()))
    })?;
    array.iter().map(item).collect()
}

fn write_list<'a>(items: impl Iterator<Item = std::borrow::Cow<'a, str>>) -> Option<String> {
    let items: Vec<_> = items.map(|item| quote(&item)).collect();
    Some(format!("[{}]", items.join(", ")))
}

impl TomlValue for bool {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let found = value.get_ref();
        found.as_bool().ok_or_else(|| {
            (value.span(), format!("takes true or false, this is a TOML {}", found.type_str()))
        })
    }

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl TomlValue for u64 {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let found = value.get_ref();
        let number = found.as_integer().ok_or_else(|| {
            (value.span(), format!("takes a whole number, this is a TOML {}", found.type_str()))
        })?;
        Self::from_str_radix(number.as_str(), number.radix())
            .map_err(|error| (value.span(), no_count(number.as_str(), &error)))
    }

    fn write(&self) -> Option<String> {
        Some(self.to_string())
    }
}

fn no_count(number: &str, error: &std::num::ParseIntError) -> String {
    match error.kind() {
        std::num::IntErrorKind::PosOverflow => format!("{number} is too large a number"),
        _ => format!("takes a whole number from 0 on, this is {number}"),
    }
}

impl TomlValue for Duration {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        from_text(value, "a duration like \"500ms\", \"2s\" or \"1m 30s\"", values::duration)
    }

    fn write(&self) -> Option<String> {
        Some(quote(&values::spell(*self)))
    }
}

impl TomlValue for Option<Duration> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        Duration::read(value).map(Some)
    }

    fn write(&self) -> Option<String> {
        self.as_ref().and_then(TomlValue::write)
    }
}

/// The section `[poison]`.
impl TomlValue for PoisonRule {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let found = value.get_ref();
        let table = found.as_table().ok_or_else(|| {
            let kind = found.type_str();
            (value.span(), format!("takes deaths, window and back_off, this is a TOML {kind}"))
        })?;
        let mut rule = Self::default();
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            let named = |(span, reason): Misfit| (span, format!("`{name}` {reason}"));
            match name {
                "deaths" => {
                    let deaths = u64::read(value).map_err(named)?;
                    rule.deaths = u32::try_from(deaths).unwrap_or(u32::MAX);
                }
                "window" => rule.window = Duration::read(value).map_err(named)?,
                "back_off" => rule.back_off = Duration::read(value).map_err(named)?,
                _ => {
                    let reason = "unknown key; there are deaths, window, back_off".to_owned();
                    return Err(named((key.span(), reason)));
                }
            }
        }
        Ok(rule)
    }

    fn write(&self) -> Option<String> {
        let (deaths, window, back_off) =
            (self.deaths, self.window.write()?, self.back_off.write()?);
        Some(format!("{{ deaths = {deaths}, window = {window}, back_off = {back_off} }}"))
    }
}

impl TomlValue for Spares {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        from_text(value, "\"MIN..MAX\", for example \"2..32\",", str::parse)
    }

    fn write(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }
}

impl TomlValue for LogLevel {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        from_text(value, "off, error, warn, info, debug, trace or directives", str::parse)
    }

    fn write(&self) -> Option<String> {
        Some(quote(self.directives()))
    }
}

macro_rules! choice_in_toml {
    ($($type:ty),*) => {$(
        impl TomlValue for $type {
            fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
                let words: Vec<_> = Self::ALL.iter().map(|(_, word, _)| *word).collect();
                from_text(value, &format!("one of {}", words.join(", ")), Self::from_word)
            }

            fn write(&self) -> Option<String> {
                Some(quote(self.word()))
            }
        }
    )*};
}

choice_in_toml!(OnPreloadError, StopPolicy, LogFormat);

impl TomlValue for Option<PathBuf> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        path(value).map(Some)
    }

    fn write(&self) -> Option<String> {
        self.as_ref().map(|path| quote(&path.to_string_lossy()))
    }
}

impl TomlValue for Option<SocketAddr> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        from_text(value, "ADDRESS:PORT, for example \"127.0.0.1:9273\",", |text| {
            values::address(text).map(Some)
        })
    }

    fn write(&self) -> Option<String> {
        self.map(|address| quote(&address.to_string()))
    }
}

impl TomlValue for Vec<PathBuf> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        list(value, "absolute paths", path)
    }

    fn write(&self) -> Option<String> {
        write_list(self.iter().map(|path| path.to_string_lossy()))
    }
}

impl TomlValue for Vec<String> {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        list(value, "names in quotes", |item| {
            let name = text(item, "a name")?;
            if name.contains('/') && !Path::new(name).is_absolute() {
                let reason = format!("`{name}`: write an absolute path, or a name without `/`");
                return Err((item.span(), reason));
            }
            Ok(name.to_owned())
        })
    }

    fn write(&self) -> Option<String> {
        write_list(self.iter().map(|name| name.as_str().into()))
    }
}
