//! What pools are built from.
//!
//! The key of a pool says in bytes whose its templates are and what they are built from; it is the
//! same whenever one client asks for the same thing, and survives a restart of the daemon.

pub(super) mod carry;

use super::owners::{Account, Owner};
use super::rights;
use crate::access::{Access, Client, OWN_CODE};
use crate::config::elf::{self, Kind};
use crate::config::{Config, modules};
use crate::core::{PoolKey, PoolSpec};
use mpserverd_proto::client::{Target, TemplateSpec};
use mpserverd_proto::error::{Fault, PreloadError, Refusal, Stage};
use mpserverd_proto::limits::{MODULES_MAX, NAME_BYTES_MAX};
use mpserverd_proto::template::{ModulePath, OnPreloadError};
use nix::fcntl::OFlag;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a template process is started.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) name: String,
    /// The program; `None` is this daemon's own, as a host of modules.
    pub(super) executable: Option<Result<Arc<OwnedFd>, PreloadError>>,
    /// Modules as requested.
    pub(super) modules: Vec<String>,
    /// `KEY=VALUE`, each ended by a NUL byte; `None` is the daemon's own.
    pub(super) environment: Option<Vec<u8>>,
    /// Who its process becomes before anything else; `None`: it stays the daemon's user.
    pub(super) account: Option<Account>,
}

/// Who asks, and what the policy says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) access: &'a Access,
    /// The daemon's user.
    pub(super) own: u32,
}

impl Asker<'_> {
    fn owner(&self) -> Owner {
        Owner::of(self.client, self.own)
    }

    fn may(&self, what: &str) -> Result<(), Refusal> {
        self.access.admit_to_code(self.client, self.own, what)
    }

    /// Its files are looked at with its own rights only.
    fn is_other(&self) -> bool {
        self.client.uid != self.own
    }

    fn denied(&self, what: &str, doing: &str) -> Refusal {
        let why = format!("{what}: this user may not {doing} it");
        Refusal::NotPermitted { uid: self.client.uid, why }
    }
}

impl Recipe {
    /// Names by which the configuration may mean it: those of its modules, or of the program.
    pub(super) fn names(&self) -> Vec<String> {
        let program = self.executable.is_some().then(|| self.name.clone());
        self.modules.iter().cloned().chain(program).collect()
    }

    /// The user that its processes are of, in a daemon of this user.
    pub(super) fn runs_as(&self, own: u32) -> u32 {
        self.account.as_ref().map_or(own, |account| account.uid)
    }
}

/// All recipes, by key.
#[derive(Debug, Default)]
pub(super) struct Recipes {
    by_key: HashMap<PoolKey, Recipe>,
    /// The pool of the operator's modules.
    default: Option<PoolSpec>,
    /// Their files, where they were found.
    default_files: Vec<PathBuf>,
    /// The daemon's user.
    own: u32,
}

fn find_error(module: &str, fault: Fault) -> PreloadError {
    PreloadError { module: module.to_owned(), stage: Stage::Find, fault }
}

impl Recipes {
    /// None yet, of a daemon of this user.
    pub(super) fn new(own: u32) -> Self {
        Self { own, ..Self::default() }
    }

    pub(super) fn get(&self, key: &PoolKey) -> Option<&Recipe> {
        self.by_key.get(key)
    }

    pub(super) fn forget(&mut self, key: &PoolKey) {
        if self.default.as_ref().is_none_or(|default| default.key != *key) {
            self.by_key.remove(key);
        }
    }

    /// The pools that the configuration preloads: one for all modules, one for each program.
    pub(super) fn of_configuration(&mut self, config: &Config) -> Vec<PoolSpec> {
        let (mut shared, mut pools) = (Vec::new(), Vec::new());
        for name in &config.preload {
            let path = modules::resolve(name, &config.module_path);
            let kind = path.as_deref().map_or(Ok(Kind::SharedObject), elf::kind);
            match (path, kind) {
                (Ok(path), Ok(Kind::Executable)) => {
                    pools.push(self.of_program(name, &path, config.on_preload_error));
                }
                // What cannot be found or loaded is refused by the build, under its policy.
                _ => shared.push(name.clone()),
            }
        }
        let found =
            shared.iter().filter_map(|name| modules::resolve(name, &config.module_path).ok());
        self.default_files = found.filter_map(|path| path.canonicalize().ok()).collect();
        let owner = Owner::operator(self.own);
        let default = self.of_modules("default", shared, config.on_preload_error, None, owner);
        self.default = Some(default.clone());
        if !default.modules.is_empty() || pools.is_empty() {
            pools.insert(0, default);
        }
        pools
    }

    fn of_program(&mut self, name: &str, path: &Path, on_error: OnPreloadError) -> PoolSpec {
        let owner = Owner::operator(self.own);
        let opened = open_program(path);
        let key = match &opened {
            Ok((_, metadata)) => program_key(&owner, metadata, &[], on_error),
            Err(_) => {
                let head = format!("{owner} missing ").into_bytes();
                PoolKey([&head, path.as_os_str().as_bytes()].concat())
            }
        };
        let executable = opened.map(|(file, _)| Arc::new(file.into())).map_err(|error| {
            let call = format!("open {}", path.display());
            find_error(name, Fault::System { call, message: error.to_string() })
        });
        let name = base_name(path);
        self.add(key, name, Some(executable), Vec::new(), None, (on_error, owner))
    }

    fn of_modules(
        &mut self,
        name: &str,
        modules: Vec<String>,
        on_error: OnPreloadError,
        environment: Option<Vec<u8>>,
        owner: Owner,
    ) -> PoolSpec {
        let key = format!("{owner} modules {on_error:?} {}", modules.join("\n"));
        let key = PoolKey(key.into_bytes());
        self.add(key, name.to_owned(), None, modules, environment, (on_error, owner))
    }

    fn add(
        &mut self,
        key: PoolKey,
        name: String,
        executable: Option<Result<Arc<OwnedFd>, PreloadError>>,
        modules: Vec<String>,
        environment: Option<Vec<u8>>,
        (on_error, owner): (OnPreloadError, Owner),
    ) -> PoolSpec {
        let Owner { client: uid, account } = owner;
        let recipe = Recipe {
            name: name.clone(),
            executable,
            modules: modules.clone(),
            environment,
            account,
        };
        self.by_key.insert(key.clone(), recipe);
        PoolSpec { key, name, modules, on_error, uid }
    }

    /// The pool that a client wants.
    pub(super) fn of_client(
        &mut self,
        spec: TemplateSpec,
        fds: Vec<OwnedFd>,
        asker: Asker<'_>,
    ) -> Result<PoolSpec, Refusal> {
        let bad = |what: &str| Refusal::BadRequest(what.to_owned());
        if spec.modules.len() > MODULES_MAX {
            return Err(bad(&format!("more than {MODULES_MAX} modules")));
        }
        if spec.modules.iter().any(|name| {
            name.is_empty() || name.len() > 8 * NAME_BYTES_MAX || name.contains(['\0', '\n'])
        }) {
            return Err(bad("a module's name is empty, too long, or has a control character"));
        }
        for name in &spec.modules {
            asker.may(name)?;
            if asker.is_other() && name.contains('/') {
                check_path(name, asker)?;
            }
        }
        match (spec.target, <[OwnedFd; 1]>::try_from(fds)) {
            (Target::Executable { path }, Ok([program])) => {
                asker.may(OWN_CODE)?;
                let path = PathBuf::from(OsStr::from_bytes(&path));
                let (modules, environment) = (spec.modules, spec.environment);
                self.of_client_program(program, &path, modules, (spec.on_error, environment), asker)
            }
            (Target::Executable { .. }, Err(_)) => Err(bad("expected one descriptor")),
            (Target::Modules, Err(fds)) if fds.is_empty() => {
                Ok(self.of_client_modules(spec.modules, spec.on_error, spec.environment, asker))
            }
            (Target::Modules, _) => Err(bad("expected no descriptor")),
        }
    }

    fn of_client_program(
        &mut self,
        program: OwnedFd,
        path: &Path,
        modules: Vec<String>,
        (on_error, environment): (OnPreloadError, Vec<u8>),
        asker: Asker<'_>,
    ) -> Result<PoolSpec, Refusal> {
        let file = File::from(program);
        let metadata = file.metadata().map_err(|error| Refusal::System {
            call: "fstat".to_owned(),
            message: error.to_string(),
        })?;
        if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
            return Err(Refusal::BadRequest("the descriptor is not an executable file".to_owned()));
        }
        let owner = asker.owner();
        let asks_kernel = owner.account.is_some() || !asker.is_other();
        if !asks_kernel && !rights::may_execute(&metadata, asker.client) {
            return Err(asker.denied(&path.display().to_string(), "execute"));
        }
        let key = program_key(&owner, &metadata, &modules, on_error);
        if let Some(known) = self.by_key.get(&key) {
            let (name, modules) = (known.name.clone(), known.modules.clone());
            return Ok(PoolSpec { key, name, modules, on_error, uid: owner.client });
        }
        let executable = Some(Ok(Arc::new(file.into())));
        let how = (on_error, owner);
        Ok(self.add(key, base_name(path), executable, modules, Some(environment), how))
    }

    fn of_client_modules(
        &mut self,
        modules: Vec<String>,
        on_error: OnPreloadError,
        environment: Vec<u8>,
        asker: Asker<'_>,
    ) -> PoolSpec {
        let owner = asker.owner();
        let default = self.default.clone();
        let default = default.filter(|_| modules.iter().all(|name| self.is_default(name, asker)));
        let Some(default) = default else {
            return self.of_modules(
                &names_of(&modules),
                modules,
                on_error,
                Some(environment),
                owner,
            );
        };
        // Of the operator's making, so never with the environment of whoever came first.
        let permitted = default.modules.iter().filter(|name| asker.may(name).is_ok());
        let permitted = permitted.cloned().collect::<Vec<_>>();
        if permitted.len() < default.modules.len() && !modules.is_empty() {
            // A template with all of them would show what is withheld.
            return self.of_modules(&names_of(&modules), modules, default.on_error, None, owner);
        }
        if permitted.len() < default.modules.len() || owner.account.is_some() {
            return self.of_modules("default", permitted, default.on_error, None, owner);
        }
        default
    }

    /// Whether the operator preloads this module, by name or by file.
    fn is_default(&self, name: &String, asker: Asker<'_>) -> bool {
        let named = self.default.as_ref().is_some_and(|pool| pool.modules.contains(name));
        // What a path of another user leads to is not looked at with this daemon's rights.
        let path = Path::new(name).to_owned();
        let path = if asker.is_other() { Ok(path) } else { path.canonicalize() };
        named || (name.contains('/') && path.is_ok_and(|file| self.default_files.contains(&file)))
    }

    /// The pool of a template that an earlier daemon built.
    pub(super) fn of_attached(
        &mut self,
        key: PoolKey,
        name: String,
        modules: Vec<String>,
        pid: u32,
        owner: Owner,
    ) -> PoolSpec {
        let on_error = OnPreloadError::Warn;
        if let Some(known) = self.by_key.get(&key) {
            let (name, modules) = (known.name.clone(), known.modules.clone());
            return PoolSpec { key, name, modules, on_error, uid: owner.client };
        }
        let executable = is_program(&key).then(|| {
            let opened = open_program(Path::new(&format!("/proc/{pid}/exe")));
            opened.map(|(file, _)| Arc::new(file.into())).map_err(|error| {
                find_error(&name, Fault::System { call: "open".into(), message: error.to_string() })
            })
        });
        self.add(key, name, executable, modules, None, (on_error, owner))
    }
}

/// Whether a pool is one of a program, not of modules.
pub(super) fn is_program(key: &PoolKey) -> bool {
    key.0.split(|byte| *byte == b' ').nth(1) == Some(b"program")
}

/// Names of modules, as a pool's name.
fn names_of(modules: &[String]) -> String {
    let names = modules.iter().map(|name| base_name(Path::new(name)));
    names.collect::<Vec<_>>().join("+")
}

/// Whether another user may name this module's file: by a path that means the same to both, and
/// that leads to what the user may read. Where the template becomes the user the kernel decides;
/// the daemon does not even look.
fn check_path(name: &str, asker: Asker<'_>) -> Result<(), Refusal> {
    if !Path::new(name).is_absolute() {
        return Err(Refusal::BadRequest(format!("`{name}`: name an absolute path")));
    }
    if asker.owner().account.is_none() && !rights::may_read(Path::new(name), asker.client) {
        return Err(asker.denied(name, "read"));
    }
    Ok(())
}

/// Opens a program for execution only.
fn open_program(path: &Path) -> std::io::Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn program_key(
    owner: &Owner,
    metadata: &Metadata,
    modules: &[String],
    on_error: OnPreloadError,
) -> PoolKey {
    PoolKey(
        format!(
            "{owner} program {}:{} {}.{} {on_error:?} {}",
            metadata.dev(),
            metadata.ino(),
            metadata.ctime(),
            metadata.ctime_nsec(),
            modules.join("\n")
        )
        .into_bytes(),
    )
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

/// The files of a pool's modules.
pub(super) fn find_modules(
    recipe: &Recipe,
    without: &[String],
    module_path: &[PathBuf],
) -> Result<Vec<ModulePath>, PreloadError> {
    let wanted = recipe.modules.iter().filter(|name| !without.contains(name));
    wanted
        .map(|name| {
            if recipe.account.is_some() && name.contains('/') {
                // The template finds it, or not, with its user's rights.
                return Ok(ModulePath { name: name.clone(), path: name.clone().into_bytes() });
            }
            let path =
                modules::resolve(name, module_path).map_err(|fault| find_error(name, fault))?;
            match elf::kind(&path) {
                Ok(Kind::SharedObject) => {}
                Ok(Kind::Executable) => {
                    let why = "it is a program: preload it on its own".to_owned();
                    return Err(find_error(name, Fault::NotLoadable(why)));
                }
                Err(fault) => return Err(find_error(name, fault)),
            }
            let path = std::path::absolute(&path).unwrap_or(path);
            Ok(ModulePath { name: name.clone(), path: path.as_os_str().as_bytes().to_vec() })
        })
        .collect()
}
