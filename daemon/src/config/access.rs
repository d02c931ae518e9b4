//! How `[access]` stands in the file.

use super::toml_value::{Misfit, TomlValue, list, quote, text};
use crate::access::Access;
use crate::access::names::{self, Named, Party};
use std::collections::BTreeMap;
use std::fmt::Display;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

const KEYS: [&str; 4] = ["users", "groups", "operators", "modules"];

fn table<'v, 'i>(value: &'v Spanned<DeValue<'i>>, what: &str) -> Result<&'v DeTable<'i>, Misfit> {
    let found = value.get_ref();
    found
        .as_table()
        .ok_or_else(|| (value.span(), format!("takes {what}, this is a TOML {}", found.type_str())))
}

/// A name in quotes, or a number.
fn name<T>(
    value: &Spanned<DeValue<'_>>,
    what: &str,
    find: fn(&str) -> Result<T, String>,
) -> Result<T, Misfit> {
    let found = match value.get_ref().as_integer() {
        Some(number) => {
            let parsed = u32::from_str_radix(number.as_str(), number.radix());
            parsed.map_err(|error| error.to_string()).and_then(|id| find(&id.to_string()))
        }
        None => find(text(value, what)?),
    };
    found.map_err(|reason| (value.span(), reason))
}

fn users(value: &Spanned<DeValue<'_>>) -> Result<Vec<Named>, Misfit> {
    list(value, "users", |item| name(item, "the name or number of a user", names::user))
}

fn groups(value: &Spanned<DeValue<'_>>) -> Result<Vec<Named>, Misfit> {
    list(value, "groups", |item| name(item, "the name or number of a group", names::group))
}

fn modules(value: &Spanned<DeValue<'_>>) -> Result<BTreeMap<String, Vec<Party>>, Misfit> {
    let what = "a table of modules, each with a list of users and @groups";
    let lines = table(value, what)?.iter();
    lines
        .map(|(key, value)| {
            let module = key.get_ref().as_ref();
            if module.is_empty() || (module.contains('/') && !module.starts_with('/')) {
                let reason = format!("`{module}`: write a module's name, or an absolute path");
                return Err((key.span(), reason));
            }
            let parties = list(value, "users and @groups", |item| {
                name(item, "a user, or a group with @ before it,", names::party)
            })?;
            Ok((module.to_owned(), parties))
        })
        .collect()
}

impl TomlValue for Access {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let mut access = Self::default();
        for (key, value) in table(value, "a table")? {
            match key.get_ref().as_ref() {
                "users" => access.users = users(value)?,
                "groups" => access.groups = groups(value)?,
                "operators" => access.operators = Some(users(value)?),
                "modules" => access.modules = modules(value)?,
                other => {
                    let reason = format!("unknown key `{other}`; there are {}", KEYS.join(", "));
                    return Err((key.span(), reason));
                }
            }
        }
        Ok(access)
    }

    fn write(&self) -> Option<String> {
        let mut parts = vec![
            format!("users = {}", write_list(&self.users)),
            format!("groups = {}", write_list(&self.groups)),
        ];
        if let Some(operators) = &self.operators {
            parts.push(format!("operators = {}", write_list(operators)));
        }
        if !self.modules.is_empty() {
            let lines = self.modules.iter();
            let lines =
                lines.map(|(module, who)| format!("{} = {}", quote(module), write_list(who)));
            parts.push(format!("modules = {{ {} }}", lines.collect::<Vec<_>>().join(", ")));
        }
        Some(format!("{{ {} }}", parts.join(", ")))
    }
}

fn write_list(names: &[impl Display]) -> String {
    let quoted: Vec<_> = names.iter().map(|name| quote(&name.to_string())).collect();
    format!("[{}]", quoted.join(", "))
}
