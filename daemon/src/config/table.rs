//! Tables of the file: keys of which none may be unknown, each with a type of its own.

use super::toml_value::{Misfit, TomlValue};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A table that is being read.
pub(super) struct Table<'t> {
    table: &'t DeTable<'t>,
    known: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// This value as a table.
    pub(super) fn of(value: &'t Spanned<DeValue<'t>>) -> Result<Self, Misfit> {
        let found = value.get_ref();
        let table = found.as_table().ok_or_else(|| {
            (value.span(), format!("takes a table, this is a TOML {}", found.type_str()))
        })?;
        Ok(Self { table, known: Vec::new() })
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.known.push(key);
        self.table.get(key)
    }

    /// Reads the value of a key, if it is there.
    pub(super) fn read<T: TomlValue>(
        &mut self,
        key: &'static str,
        into: &mut T,
    ) -> Result<(), Misfit> {
        if let Some(value) = self.get(key) {
            *into = T::read(value).map_err(|(span, reason)| (span, format!("`{key}` {reason}")))?;
        }
        Ok(())
    }

    /// All keys with their values.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'t str, std::ops::Range<usize>, &'t Spanned<DeValue<'t>>)> {
        self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// Whether every key was asked for.
    pub(super) fn end(self) -> Result<(), Misfit> {
        for (key, span, _) in self.entries() {
            if !self.known.contains(&key) {
                let known = self.known.join(", ");
                return Err((span, format!("has no key `{key}`; there are {known}")));
            }
        }
        Ok(())
    }
}

/// Writes one entry of an inline table.
pub(super) fn entry<T: TomlValue>(key: &str, value: &T) -> Option<String> {
    value.write().map(|value| format!("{key} = {value}"))
}
