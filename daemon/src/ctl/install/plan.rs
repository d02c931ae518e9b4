//! Which file goes where.

use super::texts;
use crate::cli::mpctl::InstallUnits;
use crate::ctl::doctor::manager;
use crate::ctl::error::CtlError;
use std::path::{Path, PathBuf};

/// Where units go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Put before every path, for packages and images.
    prefix: PathBuf,
    /// Of the system manager; otherwise of this user's.
    system: bool,
    /// The folder of the programs that the units start.
    programs: PathBuf,
    /// Configuration of the user, for units of his manager.
    home: PathBuf,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// Where.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) text: String,
    pub(super) kind: Kind,
}

/// What may be done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Written and removed.
    Ours,
    /// Written too, but other hosts of the machine need it when this one goes.
    Shared,
    /// Meant to be edited: never overwritten, never removed.
    Users,
    /// Written for another version of systemd: removed.
    Unwanted,
}

impl Unit {
    /// Whether something else is there that only `--force` overwrites.
    pub(super) fn is_changed(&self) -> bool {
        matches!(self.kind, Kind::Ours | Kind::Shared)
            && std::fs::read(&self.path).is_ok_and(|now| now != self.text.as_bytes())
    }
}

/// All files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// In the order in which they are written.
    pub(super) units: Vec<Unit>,
    system: bool,
    socket: String,
}

impl Place {
    /// What the command line says; without a word, the system's for root.
    pub(super) fn of(options: &InstallUnits) -> Result<Self, CtlError> {
        let system = options.system || (!options.user && nix::unistd::geteuid().is_root());
        let program = std::env::current_exe()?;
        let programs = program.parent().unwrap_or(Path::new("/usr/bin")).to_owned();
        let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = home.filter(|path| path.is_absolute());
        let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".config")));
        let home = match home {
            Some(home) => home,
            None if system => PathBuf::new(),
            None => return Err(CtlError::usage("neither XDG_CONFIG_HOME nor HOME says where")),
        };
        let prefix = options.prefix.clone().unwrap_or_else(|| PathBuf::from("/"));
        Ok(Self { prefix, system, programs, home })
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.prefix.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn units(&self) -> PathBuf {
        if self.system { "/etc/systemd/system".into() } else { self.home.join("systemd/user") }
    }

    /// A unit's text with the programs that are installed here.
    fn fill(&self, text: &str) -> String {
        let programs = self.programs.to_string_lossy();
        text.replace("/usr/bin/mpserverd", &format!("{programs}/mpserverd"))
            .replace("/usr/bin/mpctl", &format!("{programs}/mpctl"))
    }
}

impl Plan {
    /// What these options ask for.
    pub(super) fn of(place: &Place, options: &InstallUnits) -> Result<Self, CtlError> {
        let instance = options.instance.as_deref();
        if let Some(name) = instance.filter(|name| !is_instance(name)) {
            return Err(CtlError::usage(format!(
                "`{name}` is no name of an instance: use letters, digits, `_` and `-`"
            )));
        }
        if !place.system && (instance.is_some() || !options.profiles.is_empty()) {
            return Err(CtlError::usage(
                "instances and profiles are for the system manager: give --system",
            ));
        }
        let mut plan = Self {
            units: Vec::new(),
            system: place.system,
            socket: match instance {
                Some(name) => format!("mpserverd@{name}.socket"),
                None => "mpserverd.socket".to_owned(),
            },
        };
        let units = match (place.system, instance) {
            (false, _) => texts::USER,
            (true, None) => texts::SYSTEM,
            (true, Some(_)) => texts::INSTANCES,
        };
        let others = Others::of(place, options);
        let template = if others.instances { Kind::Shared } else { Kind::Ours };
        for (name, text) in units {
            plan.add(place.path(place.units().join(name)), place.fill(text), template);
        }
        let ((since, name, text), service) = (texts::NEWER, units[1].0);
        let path = place.path(place.units().join(format!("{service}.d")).join(name));
        let knows = options.uninstall || version(options) >= since;
        plan.add(path, text.to_owned(), if knows { template } else { Kind::Unwanted });
        if place.system {
            plan.add_system(place, options, &others);
        }
        Ok(plan)
    }

    fn add_system(&mut self, place: &Place, options: &InstallUnits, others: &Others) {
        let service = match &options.instance {
            Some(name) => format!("mpserverd@{name}.service.d"),
            None => "mpserverd.service.d".to_owned(),
        };
        for (name, text) in texts::PROFILES {
            // An uninstall takes all of them.
            if options.uninstall || options.profiles.iter().any(|wanted| wanted == name) {
                let path = place.units().join(&service).join(format!("{name}.conf"));
                self.add(place.path(path), text.to_owned(), Kind::Ours);
            }
        }
        let file = |text: &str, path: &str| (place.path(path), text.to_owned());
        let common = if others.any { Kind::Shared } else { Kind::Ours };
        let (path, text) = file(texts::SYSUSERS, "/etc/sysusers.d/mpserverd.conf");
        self.add(path, text, common);
        let (path, text) = file(texts::TMPFILES, "/etc/tmpfiles.d/mpserverd.conf");
        self.add(path, text, common);
        let name = options.instance.as_deref().unwrap_or("mpserverd");
        let path = format!("/etc/mpserverd/{name}.toml");
        self.add(place.path(path), texts::CONFIGURATION.to_owned(), Kind::Users);
    }

    fn add(&mut self, path: PathBuf, text: String, kind: Kind) {
        self.units.push(Unit { path, text, kind });
    }

    /// What remains to be done, as commands.
    pub(super) fn next_steps(&self, uninstall: bool) -> Vec<String> {
        let user = if self.system { "" } else { " --user" };
        let service = self.socket.replace(".socket", ".service");
        let mut steps = Vec::new();
        if uninstall {
            steps.push(format!("systemctl{user} disable --now {} {service}", self.socket));
            steps.push(format!("systemctl{user} daemon-reload"));
            return steps;
        }
        if self.system {
            steps.push(
                "systemd-sysusers mpserverd.conf && systemd-tmpfiles --create mpserverd.conf"
                    .to_owned(),
            );
            steps.push("usermod -aG mpserverd NAME    # for each who may use it".to_owned());
        }
        steps.push(format!("systemctl{user} daemon-reload"));
        steps.push(format!("systemctl{user} enable --now {} {service}", self.socket));
        steps
    }
}

/// Other hosts of the machine, which need files of this one when it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Others {
    /// Instances, if this is one.
    instances: bool,
    /// Instances or the one without a name.
    any: bool,
}

impl Others {
    /// Looks for drop-ins and for what is enabled.
    fn of(place: &Place, options: &InstallUnits) -> Self {
        let mut others = Self::default();
        if !place.system || !options.uninstall {
            return others;
        }
        let folder = place.path(place.units());
        let wanted = names(&folder).into_iter().filter(|name| name.ends_with(".wants"));
        let wanted = wanted.flat_map(|name| names(&folder.join(name))).collect::<Vec<_>>();
        for name in names(&folder).into_iter().chain(wanted) {
            let Some((instance, _)) =
                name.strip_prefix("mpserverd").and_then(|n| n.split_once('.'))
            else {
                continue;
            };
            match (instance.strip_prefix('@'), options.instance.as_deref()) {
                // Nobody's: the template of all of them.
                (Some(""), _) => {}
                (Some(name), Some(own)) if name == own => {}
                (Some(_), Some(_)) => others = Self { instances: true, any: true },
                (Some(_), None) => others.any = true,
                (None, own) => others.any |= own.is_some() && instance.is_empty(),
            }
        }
        others
    }
}

/// Names of what is in a folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// The version of systemd that the files are for. Where none is found, the oldest that will do.
fn version(options: &InstallUnits) -> u32 {
    options.for_systemd.or_else(manager::installed).unwrap_or(manager::OLDEST)
}

/// Whether a word can be an instance: systemd would escape the rest.
fn is_instance(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
}
