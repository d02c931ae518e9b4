//! The programs and sample modules under test, built on demand.
//!
//! A test binary does not depend on what it runs, so nothing has built it: the first test that
//! asks calls cargo, with the profile and the target directory that the test itself came from. So
//! it works the same under `cargo test`, nextest and `cargo run`, and a second call costs what
//! cargo needs to find that all is fresh.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifacts {
    /// The daemon.
    pub mpserverd: PathBuf,
    /// The command line tool.
    pub mpctl: PathBuf,
    /// The shared object of the module `highlight`.
    pub highlight: PathBuf,
    /// The shared object of the module `misbehave`.
    pub misbehave: PathBuf,
}

/// Packages that hold them.
const PACKAGES: [&str; 3] =
    ["mpserverd", "mpserverd-sample-highlight", "mpserverd-sample-misbehave"];

/// The artifacts, built once a process.
///
/// # Panics
/// With cargo's words when the build fails.
pub fn artifacts() -> &'static Artifacts {
    try_artifacts().unwrap_or_else(|error| panic!("{error}"))
}

/// The artifacts, built once a process.
///
/// # Errors
/// What cargo said.
pub fn try_artifacts() -> Result<&'static Artifacts, &'static str> {
    static BUILT: OnceLock<Result<Artifacts, String>> = OnceLock::new();
    BUILT.get_or_init(build).as_ref().map_err(String::as_str)
}

/// An example program of the client crate, built.
///
/// # Panics
/// With cargo's words when the build fails.
#[must_use]
pub fn example(name: &str) -> PathBuf {
    let wanted = ["--package", "mpserverd-client", "--examples"];
    static BUILT: OnceLock<Result<BTreeMap<String, PathBuf>, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| cargo_build(&wanted.map(OsString::from)));
    let found = built.as_ref().unwrap_or_else(|error| panic!("{error}"));
    found.get(name).cloned().unwrap_or_else(|| panic!("there is no example {name}"))
}

fn cargo_build(what: &[OsString]) -> Result<BTreeMap<String, PathBuf>, String> {
    let mut cargo = command(&std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .args(["build", "--quiet", "--message-format=json-render-diagnostics"])
        .args(what)
        .args(Place::of_this_program().arguments())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = cargo.output().map_err(|error| format!("cannot run cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo build failed ({}); its messages are above", output.status));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn build() -> Result<Artifacts, String> {
    let packages = PACKAGES.iter().flat_map(|package| ["--package", package]);
    let wanted = packages.chain(["--lib", "--bins"]).map(OsString::from).collect::<Vec<_>>();
    let found = cargo_build(&wanted)?;
    let path = |name: &str| {
        found.get(name).cloned().ok_or_else(|| format!("cargo built no artifact named {name}"))
    };
    Ok(Artifacts {
        mpserverd: path("mpserverd")?,
        mpctl: path("mpctl")?,
        highlight: path("highlight")?,
        misbehave: path("misbehave")?,
    })
}

/// Executables and shared objects by the names of their targets, out of cargo's messages.
fn parse(messages: &str) -> BTreeMap<String, PathBuf> {
    let mut found = BTreeMap::new();
    for line in messages.lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let Some(name) = message["target"]["name"].as_str() else { continue };
        let files = message["filenames"].as_array().into_iter().flatten();
        let shared = files
            .filter_map(|file| file.as_str())
            .find(|file| file.ends_with(std::env::consts::DLL_SUFFIX));
        if let Some(path) = message["executable"].as_str().or(shared) {
            found.insert(name.to_owned(), PathBuf::from(path));
        }
    }
    found
}

/// The root of the workspace.
#[must_use]
pub fn workspace() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_owned()
}

/// The target directory that this program was built in.
#[must_use]
pub fn target() -> PathBuf {
    Place::of_this_program().target.unwrap_or_else(|| workspace().join("target"))
}

/// A directory for files that tests make and keep, below the target directory.
///
/// # Panics
/// When it cannot be made.
#[must_use]
pub fn scratch() -> PathBuf {
    let directory = target().join("tmp");
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    directory
}

/// Where cargo put this program: the target directory, and what says which profile it was.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    target: Option<PathBuf>,
    triple: Option<String>,
    profile: Option<String>,
}

impl Place {
    fn of_this_program() -> Self {
        std::env::current_exe().map(|path| Self::of(&path)).unwrap_or_default()
    }

    /// `TARGET[/TRIPLE]/PROFILE[/deps]/PROGRAM`, where `TARGET` has the tag that cargo gives it.
    fn of(program: &Path) -> Self {
        let tagged = |directory: &&Path| directory.join("CACHEDIR.TAG").is_file();
        let Some(target) = program.ancestors().skip(1).find(tagged) else {
            return Self::default();
        };
        let inside = program.parent().and_then(|directory| directory.strip_prefix(target).ok());
        let mut parts = inside
            .into_iter()
            .flatten()
            .map(|part| part.to_string_lossy().into_owned())
            .filter(|part| part != "deps" && part != "examples")
            .collect::<Vec<_>>();
        let profile = parts.pop();
        Self { target: Some(target.to_owned()), triple: parts.pop(), profile }
    }

    fn arguments(self) -> Vec<OsString> {
        let profile = match self.profile.as_deref() {
            // The directory of the profile `dev`.
            Some("debug") => "dev".to_owned(),
            Some(name) => name.to_owned(),
            None if cfg!(debug_assertions) => "dev".to_owned(),
            None => "release".to_owned(),
        };
        let mut arguments = vec![OsString::from("--profile"), profile.into()];
        if let Some(target) = self.target {
            arguments.extend(["--target-dir".into(), target.into()]);
        }
        if let Some(triple) = self.triple {
            arguments.extend(["--target".into(), triple.into()]);
        }
        arguments
    }
}

#[allow(clippy::disallowed_methods, reason = "building needs cargo and a C compiler")]
fn command(program: &OsString) -> Command {
    Command::new(program)
}

/// Compiles `tests/modules/hello/NAME.c` with these macros defined, and gives the shared object.
///
/// `None`, with the reason printed, where there is no C compiler (`CC`, or `cc`).
///
/// # Panics
/// With the compiler's words when it refuses the source.
pub fn c_module(name: &str, defines: &[&str]) -> Option<PathBuf> {
    let source = workspace().join("tests/modules/hello").join(name).with_extension("c");
    let mut flags = ["-fPIC", "-shared"].map(OsString::from).to_vec();
    flags.extend(defines.iter().map(|define| format!("-D{define}").into()));
    flags.push("-I".into());
    flags.push(workspace().join("client/include").into());
    let stem = std::iter::once(name).chain(defines.iter().copied()).collect::<Vec<_>>().join("-");
    c_compile(&source, &flags, &(stem + std::env::consts::DLL_SUFFIX))
}

/// Compiles a C source with these flags into a file of this name, and gives its place.
///
/// `None`, with the reason printed, where there is no C compiler (`CC`, or `cc`).
///
/// # Panics
/// With the compiler's words when it refuses the source.
pub fn c_compile(source: &Path, flags: &[OsString], name: &str) -> Option<PathBuf> {
    let directory = scratch();
    // Other tests compile the same at the same time: each into its own file, then renamed.
    let fresh = tempfile::Builder::new().prefix(name).tempfile_in(&directory).expect("a file");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = command(&compiler)
        .args(["-O2", "-Wall", "-Wextra", "-Werror"])
        .args(flags)
        .arg("-o")
        .args([fresh.path(), source])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            crate::skip(&format!("no C compiler: {}: {error}", compiler.display()));
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let path = directory.join(name);
    fresh.persist(&path).expect("a file can be renamed in its directory");
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_knows_how_it_was_built() {
        let target = tempfile::tempdir().unwrap();
        std::fs::write(target.path().join("CACHEDIR.TAG"), "").unwrap();
        let place = |path: &str| {
            let place = Place::of(&target.path().join(path));
            assert_eq!(place.target.as_deref(), Some(target.path()));
            (place.triple, place.profile.unwrap())
        };
        assert_eq!(place("debug/deps/a-1"), (None, "debug".into()));
        assert_eq!(place("release/demo"), (None, "release".into()));
        assert_eq!(place("x86_64-a/debug/deps/a"), (Some("x86_64-a".into()), "debug".into()));
    }

    #[test]
    fn artifacts_are_found_in_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"a"},"filenames":["/t/liba.so","/t/liba.rlib"],"executable":null}
no json
{"reason":"compiler-artifact","target":{"name":"b"},"filenames":["/t/b"],"executable":"/t/b"}
{"reason":"build-finished","success":true}"#;
        let found = parse(messages);
        assert_eq!(found.len(), 2);
        assert_eq!(found["a"], Path::new("/t/liba.so"));
        assert_eq!(found["b"], Path::new("/t/b"));
    }
}
