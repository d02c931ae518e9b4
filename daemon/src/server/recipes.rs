//! What pools are built from.
//!
//! The key of a pool says in bytes what its templates are built from; it is the same for every
//! client that asks for the same thing, and survives a restart of the daemon.

pub(super) mod carry;

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
}

/// All recipes, by key.
#[derive(Debug, Default)]
pub(super) struct Recipes {
    by_key: HashMap<PoolKey, Recipe>,
    /// The pool of the operator's modules.
    default: Option<PoolSpec>,
    /// Their files, where they were found.
    default_files: Vec<PathBuf>,
}

fn find_error(module: &str, fault: Fault) -> PreloadError {
    PreloadError { module: module.to_owned(), stage: Stage::Find, fault }
}

impl Recipes {
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
        let default = self.of_modules("default", shared, config.on_preload_error, None);
        self.default = Some(default.clone());
        if !default.modules.is_empty() || pools.is_empty() {
            pools.insert(0, default);
        }
        pools
    }

    fn of_program(&mut self, name: &str, path: &Path, on_error: OnPreloadError) -> PoolSpec {
        let opened = open_program(path);
        let key = match &opened {
            Ok((_, metadata)) => program_key(metadata, &[], on_error),
            Err(_) => PoolKey([b"missing ", path.as_os_str().as_bytes()].concat()),
        };
        let executable = opened.map(|(file, _)| Arc::new(file.into())).map_err(|error| {
            let call = format!("open {}", path.display());
            find_error(name, Fault::System { call, message: error.to_string() })
        });
        let name = base_name(path);
        self.add(key, name, Some(executable), Vec::new(), None, on_error)
    }

    fn of_modules(
        &mut self,
        name: &str,
        modules: Vec<String>,
        on_error: OnPreloadError,
        environment: Option<Vec<u8>>,
    ) -> PoolSpec {
        let key = PoolKey(format!("modules {on_error:?} {}", modules.join("\n")).into_bytes());
        self.add(key, name.to_owned(), None, modules, environment, on_error)
    }

    fn add(
        &mut self,
        key: PoolKey,
        name: String,
        executable: Option<Result<Arc<OwnedFd>, PreloadError>>,
        modules: Vec<String>,
        environment: Option<Vec<u8>>,
        on_error: OnPreloadError,
    ) -> PoolSpec {
        let recipe =
            Recipe { name: name.clone(), executable, modules: modules.clone(), environment };
        self.by_key.insert(key.clone(), recipe);
        PoolSpec { key, name, modules, on_error }
    }

    /// The pool that a client wants.
    pub(super) fn of_client(
        &mut self,
        spec: TemplateSpec,
        fds: Vec<OwnedFd>,
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
        match (spec.target, <[OwnedFd; 1]>::try_from(fds)) {
            (Target::Executable { path }, Ok([program])) => {
                let path = PathBuf::from(OsStr::from_bytes(&path));
                self.of_client_program(
                    program,
                    &path,
                    spec.modules,
                    spec.on_error,
                    spec.environment,
                )
            }
            (Target::Executable { .. }, Err(_)) => Err(bad("expected one descriptor")),
            (Target::Modules, Err(fds)) if fds.is_empty() => {
                Ok(self.of_client_modules(spec.modules, spec.on_error, spec.environment))
            }
            (Target::Modules, _) => Err(bad("expected no descriptor")),
        }
    }

    fn of_client_program(
        &mut self,
        program: OwnedFd,
        path: &Path,
        modules: Vec<String>,
        on_error: OnPreloadError,
        environment: Vec<u8>,
    ) -> Result<PoolSpec, Refusal> {
        let file = File::from(program);
        let metadata = file.metadata().map_err(|error| Refusal::System {
            call: "fstat".to_owned(),
            message: error.to_string(),
        })?;
        if !metadata.is_file() || metadata.mode() & 0o111 == 0 {
            return Err(Refusal::BadRequest("the descriptor is not an executable file".to_owned()));
        }
        let key = program_key(&metadata, &modules, on_error);
        if let Some(known) = self.by_key.get(&key) {
            let (name, modules) = (known.name.clone(), known.modules.clone());
            return Ok(PoolSpec { key, name, modules, on_error });
        }
        let executable = Some(Ok(Arc::new(file.into())));
        Ok(self.add(key, base_name(path), executable, modules, Some(environment), on_error))
    }

    fn of_client_modules(
        &mut self,
        modules: Vec<String>,
        on_error: OnPreloadError,
        environment: Vec<u8>,
    ) -> PoolSpec {
        if let Some(default) = &self.default
            && modules.iter().all(|name| self.is_default(name))
        {
            return default.clone();
        }
        let name = modules.iter().map(|name| base_name(Path::new(name))).collect::<Vec<_>>();
        self.of_modules(&name.join("+"), modules, on_error, Some(environment))
    }

    /// Whether the operator preloads this module, by name or by file.
    fn is_default(&self, name: &String) -> bool {
        let named = self.default.as_ref().is_some_and(|pool| pool.modules.contains(name));
        let file = || Path::new(name).canonicalize().is_ok_and(|f| self.default_files.contains(&f));
        named || (name.contains('/') && file())
    }

    /// The pool of a template that an earlier daemon built.
    pub(super) fn of_attached(
        &mut self,
        key: PoolKey,
        name: String,
        modules: Vec<String>,
        pid: u32,
    ) -> PoolSpec {
        let on_error = OnPreloadError::Warn;
        if let Some(known) = self.by_key.get(&key) {
            let (name, modules) = (known.name.clone(), known.modules.clone());
            return PoolSpec { key, name, modules, on_error };
        }
        let executable = key.0.starts_with(b"program ").then(|| {
            let opened = open_program(Path::new(&format!("/proc/{pid}/exe")));
            opened.map(|(file, _)| Arc::new(file.into())).map_err(|error| {
                find_error(&name, Fault::System { call: "open".into(), message: error.to_string() })
            })
        });
        self.add(key, name, executable, modules, None, on_error)
    }
}

/// Opens a program for execution only.
fn open_program(path: &Path) -> std::io::Result<(File, Metadata)> {
    let file = File::options().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    let metadata = file.metadata()?;
    Ok((file, metadata))
}

fn program_key(metadata: &Metadata, modules: &[String], on_error: OnPreloadError) -> PoolKey {
    PoolKey(
        format!(
            "program {}:{} {}.{} {on_error:?} {}",
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
