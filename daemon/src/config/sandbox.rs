//! `[sandbox]`: what confines every worker, those of a module or a program, those of a user.
//! What a client asks for comes on top; it cannot take anything away.

use super::table::{Table, entry};
use super::toml_value::{Misfit, TomlValue};
use mpserverd_proto::sandbox::{Deny, Files, Forced, Sandbox};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::Spanned;
use toml::de::DeValue;

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SandboxTable {
    all: Sandbox,
    modules: BTreeMap<String, Sandbox>,
    uids: BTreeMap<u32, Sandbox>,
}

impl SandboxTable {
    /// What confines workers of this user with these modules (or of this program).
    ///
    /// A module is meant by its name, whether it was asked for by that or by its file.
    #[must_use]
    pub fn forced(&self, uid: u32, names: &[String]) -> Vec<Forced> {
        let mut forced = Vec::new();
        let mut add = |key: String, sandbox: &Sandbox| {
            if !sandbox.is_empty() {
                forced.push(Forced { key, sandbox: sandbox.clone() });
            }
        };
        add("sandbox".to_owned(), &self.all);
        for (module, sandbox) in &self.modules {
            if names.iter().any(|name| name == module || stem(name) == module) {
                add(format!("sandbox.module.{module}"), sandbox);
            }
        }
        if let Some(sandbox) = self.uids.get(&uid) {
            add(format!("sandbox.uid.{uid}"), sandbox);
        }
        forced
    }
}

impl SandboxTable {
    /// Users whose sections confine nobody in a daemon of this user: only root's workers run as
    /// somebody else.
    pub(crate) fn idle_uids(&self, own: u32) -> Vec<u32> {
        self.uids.keys().copied().filter(|uid| own != 0 && *uid != own).collect()
    }
}

/// The name of a module's file without what the linker adds.
pub(super) fn stem(name: &str) -> &str {
    let file = name.rsplit('/').next().unwrap_or(name);
    let file = file.strip_suffix(std::env::consts::DLL_SUFFIX).unwrap_or(file);
    file.strip_prefix(std::env::consts::DLL_PREFIX).unwrap_or(file)
}

/// Reads one description out of a table that may have other keys, too.
fn profile(table: &mut Table<'_>) -> Result<Sandbox, Misfit> {
    let mut files = Files::default();
    for (key, list) in [
        ("read_only", &mut files.read_only),
        ("read_write", &mut files.read_write),
        ("execute", &mut files.execute),
    ] {
        let mut paths = Vec::<PathBuf>::new();
        table.read(key, &mut paths)?;
        *list = paths.into_iter().map(|p| p.into_os_string().into_encoded_bytes()).collect();
    }
    let (mut no_files, mut names) = (false, Vec::<String>::new());
    let mut sandbox = Sandbox::default();
    table.read("no_files", &mut no_files)?;
    let place = table.get("deny").map(Spanned::span);
    table.read("deny", &mut names)?;
    for name in names {
        match Deny::of_name(&name) {
            Some(group) if sandbox.deny.contains(&group) => {}
            Some(group) => sandbox.deny.push(group),
            None => sandbox.calls.push(name),
        }
    }
    table.read("private_network", &mut sandbox.private_network)?;
    table.read("private_tmp", &mut sandbox.private_tmp)?;
    sandbox.files = (no_files || files != Files::default()).then_some(files);
    check(&sandbox).map_err(|reason| (place.unwrap_or_default(), reason))?;
    Ok(sandbox)
}

#[cfg(target_os = "linux")]
fn check(sandbox: &Sandbox) -> Result<(), String> {
    mp::check_sandbox(sandbox).map_err(|reason| {
        let groups = Deny::ALL.map(|(_, name)| name).join(", ");
        format!("{reason} (besides names of system calls there are {groups})")
    })
}

#[cfg(not(target_os = "linux"))]
fn check(sandbox: &Sandbox) -> Result<(), String> {
    sandbox.check()
}

/// Reads a table of descriptions.
fn profiles<K: Ord>(
    value: Option<&Spanned<DeValue<'_>>>,
    what: &str,
    key_of: impl Fn(&str) -> Option<K>,
) -> Result<BTreeMap<K, Sandbox>, Misfit> {
    let mut all = BTreeMap::new();
    let Some(value) = value else { return Ok(all) };
    for (name, span, value) in Table::of(value)?.entries() {
        let key = key_of(name).ok_or_else(|| (span, format!("`{name}` is not {what}")))?;
        let mut table = Table::of(value)?;
        let sandbox = profile(&mut table)?;
        table.end()?;
        all.insert(key, sandbox);
    }
    Ok(all)
}

impl TomlValue for SandboxTable {
    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Misfit> {
        let mut table = Table::of(value)?;
        let all = profile(&mut table)?;
        let name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let modules = profiles(table.get("module"), "the name of a module", name)?;
        let uids = profiles(table.get("uid"), "a uid", |name| name.parse().ok())?;
        table.end()?;
        Ok(Self { all, modules, uids })
    }

    fn write(&self) -> Option<String> {
        let mut entries = written(&self.all);
        let tables = |all: Vec<(String, &Sandbox)>| {
            let inner = all.into_iter().map(|(key, sandbox)| {
                format!("{} = {{ {} }}", quoted(&key), written(sandbox).join(", "))
            });
            inner.collect::<Vec<_>>().join(", ")
        };
        let modules = self.modules.iter().map(|(name, sandbox)| (name.clone(), sandbox)).collect();
        let uids = self.uids.iter().map(|(uid, sandbox)| (uid.to_string(), sandbox)).collect();
        for (key, text) in [("module", tables(modules)), ("uid", tables(uids))] {
            entries.extend((!text.is_empty()).then(|| format!("{key} = {{ {text} }}")));
        }
        Some(format!("{{ {} }}", entries.join(", ")))
    }
}

fn quoted(key: &str) -> String {
    toml::Value::String(key.to_owned()).to_string()
}

/// What is not the default of a description, as entries of a table.
fn written(sandbox: &Sandbox) -> Vec<String> {
    let mut entries = Vec::new();
    for (key, paths) in sandbox.files.iter().flat_map(Files::lists) {
        if !paths.is_empty() {
            let paths = paths.iter().map(|path| String::from_utf8_lossy(path).into_owned());
            entries.extend(entry(key, &paths.map(PathBuf::from).collect::<Vec<_>>()));
        }
    }
    let no_files = sandbox.files == Some(Files::default());
    let denied = sandbox.deny.iter().map(|group| group.name().to_owned());
    let denied = denied.chain(sandbox.calls.iter().cloned()).collect::<Vec<_>>();
    entries.extend((!denied.is_empty()).then(|| entry("deny", &denied)).flatten());
    for (key, set) in [
        ("no_files", no_files),
        ("private_network", sandbox.private_network),
        ("private_tmp", sandbox.private_tmp),
    ] {
        entries.extend(set.then(|| format!("{key} = true")));
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_known_by_name_and_by_file() {
        let exec = Sandbox { deny: vec![Deny::Exec], ..Sandbox::default() };
        let table = SandboxTable {
            all: Sandbox::default(),
            modules: [("thumbs".to_owned(), exec.clone())].into(),
            uids: [(7, exec)].into(),
        };
        let keys = |uid, name: &str| {
            let forced = table.forced(uid, &[name.to_owned()]);
            forced.into_iter().map(|forced| forced.key).collect::<Vec<_>>()
        };
        use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
        let linked = format!("/usr/lib/{DLL_PREFIX}thumbs{DLL_SUFFIX}");
        for name in ["thumbs", &linked, &format!("./thumbs{DLL_SUFFIX}")] {
            assert_eq!(keys(0, name), ["sandbox.module.thumbs"], "{name}");
        }
        assert_eq!(keys(7, "other"), ["sandbox.uid.7"]);
        assert_eq!(keys(7, "thumbs"), ["sandbox.module.thumbs", "sandbox.uid.7"]);
        assert!(keys(0, "thumbs2").is_empty());
        assert_eq!([0, 7, 8].map(|own| table.idle_uids(own)), [vec![], vec![], vec![7]]);
    }
}
