//! What a worker is: all of it the requester's, unless something else was asked for.

use mp::{JobError, ProcessError, Resource};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{end, outcome, value};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// Everything that a worker sees of its surroundings.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Surroundings {
    cwd: Option<PathBuf>,
    environment: BTreeMap<Vec<u8>, Vec<u8>>,
    status: BTreeMap<String, String>,
    limits: String,
    nice: i32,
    cgroup: String,
}

/// Lines of `/proc/self/status` that are a matter of who one is, not of what one does.
const LINES: [&str; 13] = [
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
    "Mems_allowed",
];

#[mp::task]
fn surroundings() -> Surroundings {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap();
    let status = read("status");
    let status = status.lines().filter_map(|line| line.split_once(':'));
    Surroundings {
        cwd: std::env::current_dir().ok(),
        // Every start has a trace of its own; `deaths` looks at that.
        environment: std::env::vars_os()
            .filter(|(key, _)| key != "TRACEPARENT")
            .map(|(key, value)| (key.into_vec(), value.into_vec()))
            .collect(),
        status: status
            .filter(|(key, _)| LINES.contains(key))
            .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
            .collect(),
        limits: std::fs::read_to_string("/proc/self/limits").unwrap(),
        nice: nice(),
        cgroup: read("cgroup"),
    }
}

/// Of the calling thread, the 17th field behind the name.
fn nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    fields.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[mp::task]
fn hash_keys() -> (u64, u64) {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(1), RandomState::new().hash_one(2))
}

#[mp::task]
fn own_cwd() -> std::io::Result<PathBuf> {
    std::env::current_dir()
}

#[mp::task]
fn cwd_entries() -> std::io::Result<usize> {
    Ok(std::fs::read_dir(".")?.count())
}

#[mp::task]
fn make_file(path: PathBuf) -> u32 {
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
    let options = std::fs::File::options().write(true).create_new(true).mode(0o666).open(&path);
    options.unwrap().metadata().unwrap().permissions().mode() & 0o777
}

suite![
    all_is_the_requesters,
    the_environment_can_be_changed,
    the_environment_can_be_anything_but_malformed,
    the_working_directory_can_be_chosen,
    the_mask_can_be_chosen,
    priority_and_affinity_can_be_chosen,
    limits_can_be_chosen,
    what_cannot_be_had_is_told,
    hash_keys_differ,
];

fn all_is_the_requesters(ctx: &mp::Context) {
    let mut own = surroundings();
    let mut told = value(ctx.process::<surroundings>(()));
    // Other tests of this process may change it; those of the harness are compared as they are.
    for which in [&mut own, &mut told] {
        which.limits = which.limits.split_whitespace().collect::<Vec<_>>().join(" ");
    }
    assert_eq!(told, own);
}

fn variables(process: mp::ProcessBuilder<Surroundings>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    value(process).environment
}

fn the_environment_can_be_changed(ctx: &mp::Context) {
    let own = surroundings().environment;
    let process = ctx.process::<surroundings>(()).env("COLOUR", "red").env("COLOUR", "green");
    let mut want = own.clone();
    want.insert(b"COLOUR".to_vec(), b"green".to_vec());
    want.remove(&b"PATH"[..]);
    assert_eq!(variables(process.env_remove("PATH").env_remove("UNKNOWN")), want);

    let process = ctx.process::<surroundings>(()).env("LOST", "1").env_clear().env("ONLY", "2");
    assert_eq!(variables(process), BTreeMap::from([(b"ONLY".to_vec(), b"2".to_vec())]));
    assert!(variables(ctx.process::<surroundings>(()).env_clear()).is_empty());
    let process = ctx.process::<surroundings>(()).env("GONE", "1").env_remove("GONE");
    assert_eq!(variables(process), own);
}

fn the_environment_can_be_anything_but_malformed(ctx: &mp::Context) {
    let odd = OsString::from_vec(vec![0xff, 0xfe, b'x']);
    let long = "x".repeat(100_000);
    let process = ctx.process::<surroundings>(()).env(&odd, &odd).env("EMPTY", "");
    let told = variables(process.env("LONG", &long).env("SIGNS", "a=b\nc"));
    assert_eq!(told[odd.as_bytes()], odd.as_bytes());
    assert_eq!(told[&b"EMPTY"[..]], b"");
    assert_eq!(told[&b"LONG"[..]], long.as_bytes());
    assert_eq!(told[&b"SIGNS"[..]], b"a=b\nc");
    for (key, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "x\0")] {
        let error = ctx.process::<surroundings>(()).env(key, value).start().unwrap_err();
        assert!(matches!(error, mp::StartError::Invalid(_)), "{error}");
    }
}

fn the_working_directory_can_be_chosen(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().canonicalize().unwrap();
    std::fs::write(path.join("file"), "").unwrap();
    let process = ctx.process::<own_cwd>(()).current_dir(&path);
    assert_eq!(value(process).unwrap(), path);
    assert_eq!(value(ctx.process::<cwd_entries>(()).current_dir(&path)).unwrap(), 1);
    for wrong in [path.join("missing"), path.join("file")] {
        let error = ctx.process::<own_cwd>(()).current_dir(wrong).start().unwrap_err();
        assert!(
            matches!(error, mp::StartError::System { call: "working directory", .. }),
            "{error}"
        );
    }
}

fn the_mask_can_be_chosen(ctx: &mp::Context) {
    let directory = tempfile::tempdir().unwrap();
    for (mask, mode) in [(0o000, 0o666), (0o077, 0o600), (0o027, 0o640)] {
        let path = directory.path().join(format!("{mask:o}"));
        assert_eq!(value(ctx.process::<make_file>((path,)).umask(mask)), mode);
    }
}

fn priority_and_affinity_can_be_chosen(ctx: &mp::Context) {
    let own = surroundings();
    let told = value(ctx.process::<surroundings>(()).nice(own.nice + 3));
    assert_eq!(told.nice, own.nice + 3);
    let process = ctx.process::<allowed_cpus>(());
    let cpus = allowed_cpus();
    assert_eq!(value(process), cpus);
    let last = *cpus.last().unwrap();
    assert_eq!(value(ctx.process::<allowed_cpus>(()).affinity([last])), [last]);
    assert_eq!(value(ctx.process::<allowed_cpus>(()).affinity(cpus.clone())), cpus);
}

#[mp::task]
fn allowed_cpus() -> Vec<usize> {
    use nix::sched::{CpuSet, sched_getaffinity};
    let set = sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).collect()
}

#[mp::task]
fn open_files_limit() -> (u64, u64) {
    use nix::sys::resource::{Resource, getrlimit};
    getrlimit(Resource::RLIMIT_NOFILE).unwrap()
}

fn limits_can_be_chosen(ctx: &mp::Context) {
    let process = ctx.process::<open_files_limit>(()).rlimit(Resource::OpenFiles, 50, 60);
    assert_eq!(value(process), (50, 60));
    let process = ctx.process::<open_files_limit>(()).rlimit(Resource::OpenFiles, 50, 60);
    let process = process.rlimit(Resource::OpenFiles, 40, 45);
    assert_eq!(value(process), (40, 45));
    assert_eq!(value(ctx.process::<open_files_limit>(())), open_files_limit());
}

fn what_cannot_be_had_is_told(ctx: &mp::Context) {
    let step = |builder: mp::ProcessBuilder<Surroundings>| {
        let process = builder.stderr(mp::Stream::Null).start().unwrap();
        let step = match outcome(&process) {
            Err(ProcessError::Rejected(JobError::Setup { step, .. })) => step,
            other => panic!("{other:?}"),
        };
        assert_eq!(end(&process), 111);
        step
    };
    // A soft limit above the hard one.
    let process = ctx.process::<surroundings>(()).rlimit(Resource::OpenFiles, 60, 50);
    assert!(step(process).contains("limit"));
    let process = ctx.process::<surroundings>(()).affinity([1000]);
    assert!(step(process).contains("affinity"));
    if !nix::unistd::geteuid().is_root() {
        assert!(step(ctx.process::<surroundings>(()).nice(-20)).contains("nice"));
    }
}

fn hash_keys_differ(ctx: &mp::Context) {
    let keys = (0..4).map(|_| value(ctx.process::<hash_keys>(()))).collect::<Vec<_>>();
    for (at, one) in keys.iter().enumerate() {
        assert!(keys[at + 1..].iter().all(|other| other != one), "{keys:?}");
    }
    assert!(!keys.contains(&hash_keys()));
}
