//! Ranks of sources, `--check`, the example file, and many ways to get a file wrong.

use super::*;
use proptest::prelude::*;
use std::path::Path;

const EXAMPLE: &str = include_str!("../../../systemd/mpserverd.toml");

fn place() -> Environment {
    Environment {
        directory: "/srv".into(),
        default_socket: "/run/test/mpserverd.sock".into(),
        ..Environment::default()
    }
}

/// Loads a file with this text.
fn load_with(text: &str, options: Options, place: Environment) -> Result<Config, Findings> {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("test.toml");
    std::fs::write(&file, text).expect("file");
    let options = Options { config: Some(file), ..options };
    Config::load(options, place, Purpose::Service)
}

fn load(text: &str) -> Result<Config, Findings> {
    load_with(text, Options::default(), place())
}

fn defaults() -> Config {
    Config::load(Options::default(), place(), Purpose::Service).expect("defaults are valid")
}

/// A configuration without what it was made from.
fn plain(config: Config) -> Config {
    let empty = defaults();
    Config { draft: empty.draft, source: empty.source, ..config }
}

#[test]
fn the_example_file_is_the_defaults_and_misses_nothing() {
    assert_eq!(plain(load(EXAMPLE).expect("example")), defaults());
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = \"") => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let all = load(&uncommented).expect("with every option");
    assert!(!all.show().contains("# default"), "an option is missing:\n{}", all.show());
    assert_eq!(all.log.file.as_deref(), Some(Path::new("/var/log/mpserverd.log")));
}

#[test]
fn the_command_line_comes_first_then_environment_then_file() {
    let file = "socket = '/file.sock'\nspares = '1..2'\nmodule_path = ['/file']\ngrace = '3s'\n";
    let options = || Options {
        spares: Some("4..8".parse().expect("spares")),
        module_path: vec!["option".into()],
        ..Options::default()
    };
    let place = Environment {
        socket: Some("env.sock".into()),
        module_path: Some("/env::env".into()),
        ..place()
    };
    let config = load_with(file, options(), place.clone()).expect("valid");
    assert_eq!((config.settings.spares_min, config.settings.spares_max), (4, 8));
    assert_eq!(config.socket, Path::new("/srv/env.sock"));
    assert_eq!(config.stop_grace, Duration::from_secs(3));
    let folders: Vec<_> = ["/srv/option", "/env", "/srv/env", "/file"].map(PathBuf::from).into();
    assert_eq!(config.module_path, folders);
    let options = Options { socket: Some("./mine.sock".into()), ..options() };
    let config = load_with(file, options.clone(), place.clone()).expect("valid");
    assert_eq!(config.socket, Path::new("/srv/mine.sock"));
    assert_eq!(load(file).expect("valid").socket, Path::new("/file.sock"));
}

#[test]
fn a_private_daemon_has_a_socket_of_its_own() {
    let place = Environment { socket: Some("/env.sock".into()), ..place() };
    let config = Config::load(Options::default(), place.clone(), Purpose::Private).expect("valid");
    assert!(config.socket.starts_with("/run/test/"), "{:?}", config.socket);
    assert_ne!(config.socket, place.default_socket);
    let options = Options { socket: Some("/mine.sock".into()), ..Options::default() };
    let config = Config::load(options, place, Purpose::Private).expect("valid");
    assert_eq!(config.socket, Path::new("/mine.sock"));
}

#[test]
fn a_reload_keeps_the_command_line_and_sees_the_file() {
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("test.toml");
    std::fs::write(&file, "grace = '1s'\nmax_workers = 50").expect("file");
    let options = Options {
        config: Some(file.clone()),
        grace: Some(Duration::from_secs(7)),
        ..Options::default()
    };
    let config = Config::load(options, place(), Purpose::Service).expect("valid");
    std::fs::write(&file, "grace = '2s'\nmax_workers = 60").expect("file");
    let again = config.reload().expect("valid");
    assert_eq!((again.stop_grace, again.settings.workers_max), (Duration::from_secs(7), 60));
    std::fs::write(&file, "grace = 2").expect("file");
    assert!(again.reload().is_err());
    assert_eq!(config.file(), Some(file.as_path()));
}

#[test]
fn what_check_prints_is_the_same_configuration() {
    let text = "preload = ['a', '/b \"c\".so']\nlog_level = 'warn,mpserverd=debug'\nspares = '3'\n\
                [sandbox]\nread_only = ['/usr']\ndeny = ['no-exec', 'swapon']\n\
                [sandbox.module.'a b']\nno_files = true\n[sandbox.uid.7]\nprivate_tmp = true\n\
                [admission]\nearly_refusal = 'off'\nexempt = ['7']\n";
    let options = Options { max_workers: Some(77), ..Options::default() };
    let config = load_with(text, options, place()).expect("valid");
    let shown = config.show();
    for part in ["test.toml:3", "# --max-workers", "# default", "max_workers = 77", "\"3..3\""] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    assert_eq!(plain(load(&shown).expect("output of --check")), plain(config));
}

#[cfg(unix)]
#[test]
fn who_may_what_is_read_and_shown() {
    let text = "[access]\nusers = ['root', 1001]\ngroups = ['0']\noperators = [7]\n\
        [access.modules]\n'*' = ['@5', 8]\n'own executables' = []\n";
    let options = Options {
        allow_user: vec![crate::access::names::user("1002").expect("user")],
        ..Options::default()
    };
    let config = load_with(text, options, place()).expect("valid");
    let access = &config.access;
    let ids = access.users.iter().map(|user| user.id).collect::<Vec<_>>();
    assert_eq!((ids, access.groups[0].id), (vec![0, 1001, 1002], 0));
    assert_eq!(config.settings.operators, [7]);
    assert_eq!(access.modules.len(), 2);
    assert_eq!(plain(load(&config.show()).expect("output of --check")), plain(config));
    let own = Environment { uid: 9, ..place() };
    let config = load_with("", Options::default(), own).expect("valid");
    assert_eq!(config.settings.operators, [9]);
}

/// Files that are wrong: text, place, and a part of the reason.
const BROKEN: &[(&str, &str, &str)] = &[
    ("spare = '2..3'", ":1:1: `spare`", "did you mean `spares`?"),
    ("\n\nmax-workers = 5", ":3:1: `max-workers`", "did you mean `max_workers`?"),
    ("quux = 1", ":1:1: `quux`", "shows all there are"),
    ("[templates]\npreload = []", ":1:2: `templates`", "unknown key"),
    ("preload = 'shop'", ":1:11: `preload`", "takes a list"),
    ("preload = [\n  'shop',\n  7,\n]", ":3:3: `preload`", "this is a TOML integer"),
    ("preload = ['./shop.so']", ":1:12: `preload`", "absolute path"),
    ("preload = ['a', 'a']", ":1:11: `preload`", "`a` is listed twice"),
    ("preload = ['']", ":1:11: `preload`", "1 to 512 bytes"),
    ("on_preload_error = 'panic'", ":1:20: `on_preload_error`", "ignore, warn, fail"),
    ("on_preload_error = true", ":1:20: `on_preload_error`", "one of ignore, warn, fail"),
    ("module_path = ['modules']", ":1:16: `module_path`", "not an absolute path"),
    ("socket = 'x.sock'", ":1:10: `socket`", "not an absolute path"),
    ("socket = '/run/'", ":1:10: `socket`", "does not name a file"),
    ("socket = '/'", ":1:10: `socket`", "does not name a file"),
    ("preload_timeout = 5", ":1:19: `preload_timeout`", "500ms"),
    ("preload_timeout = '5'", ":1:19: `preload_timeout`", "500ms"),
    ("preload_timeout = '0s'", ":1:19: `preload_timeout`", "not within 1ms and 1day"),
    ("grace = '2years'", ":1:9: `grace`", "not within"),
    ("backoff_min = '2m'", ":1:15: `backoff_min`", "more than `backoff_max`, 1m"),
    ("spares = '9..3'", ":1:10: `spares`", "9 is more than 3"),
    ("spares = 3", ":1:10: `spares`", "MIN..MAX"),
    ("spares = '2..99'\nmax_workers = 50", ":1:10: `spares`", "50 workers"),
    ("max_workers = 0", ":1:15: `max_workers`", "not within 1 and 4194304"),
    ("max_workers = -1", ":1:15: `max_workers`", "whole number from 0"),
    ("max_workers = 1.5", ":1:15: `max_workers`", "TOML float"),
    ("max_templates = 5000", ":1:17: `max_templates`", "not within 1 and 4096"),
    ("max_clients = 0x1ffff", ":1:15: `max_clients`", "131071 is not within"),
    ("deaths_kept = 100001", ":1:15: `deaths_kept`", "not within 0 and 100000"),
    ("deaths_kept = 'all'", ":1:15: `deaths_kept`", "whole number"),
    ("catch_stderr = 1", ":1:16: `catch_stderr`", "true, false or a list"),
    ("catch_stderr = [1]", ":1:17: `catch_stderr`", "name of a module"),
    ("catch_stderr = ['']", ":1:17: `catch_stderr`", "an empty name"),
    ("slow_log = 5", ":1:12: `slow_log`", "500ms"),
    ("slow_log = '0s'", ":1:12: `slow_log`", "not within 1ms and 1day"),
    ("poison = true", ":1:10: `poison`", "takes deaths, window and back_off"),
    ("[poison]\ndeath = 5", ":2:1: `poison`", "there are deaths, window, back_off"),
    ("[poison]\ndeaths = -1", ":2:10: `poison`", "`deaths` takes a whole number"),
    ("[poison]\nwindow = 5", ":2:10: `poison`", "`window` takes a duration"),
    ("[poison]\nback_off = '0s'", ":1:1: `poison`", "`back_off`: 0s is not within"),
    ("[poison]\ndeaths = 1001", ":1:1: `poison`", "not within 0 and 1000"),
    ("stop_policy = 'Wait'", ":1:15: `stop_policy`", "wait, term, kill"),
    ("log_level = 'inof'", ":1:13: `log_level`", "off, error, warn"),
    ("log_format = 'xml'", ":1:14: `log_format`", "text, json"),
    ("hugepages = 'yes'", ":1:13: `hugepages`", "true or false"),
    ("pid_file = '/a'\nlog_file = '/a'", ":2:12: `log_file`", "same path as `pid_file`"),
    ("pid_file = '/tmp'", ":1:12: `pid_file`", "is a directory"),
    ("sandbox = 5", ":1:11: `sandbox`", "takes a table"),
    ("[sandbox]\nreadonly = []", ":2:1: `sandbox`", "has no key `readonly`; there are read_only"),
    ("[sandbox]\nread_only = ['x']", ":2:14: `sandbox`", "`read_only` `x` is not an absolute path"),
    ("[sandbox]\nexecute = '/bin'", ":2:11: `sandbox`", "`execute` takes a list"),
    ("[sandbox]\ndeny = ['no-fun']", ":2:8: `sandbox`", "no-exec, no-network"),
    ("[sandbox]\ndeny = ['write']", ":2:8: `sandbox`", "can do without `write`"),
    ("[sandbox]\nprivate_tmp = 'yes'", ":2:15: `sandbox`", "true or false"),
    ("[sandbox.uid.joe]\ndeny = []", ":1:14: `sandbox`", "`joe` is not a uid"),
    ("[sandbox.module]\nm = 3", ":2:5: `sandbox`", "takes a table"),
    ("[sandbox.module.m]\nfiles = 3", ":2:1: `sandbox`", "has no key `files`"),
    ("[admission]\npenalties = '1s'", ":2:1: `admission`", "has no key `penalties`"),
    ("[admission]\nearly_refusal = '10:30'", ":2:17: `admission`", "BEGIN:PERCENT:FULL"),
    ("[admission]\nearly_refusal = '9:30:3'", ":2:17: `admission`", "not above FULL"),
    ("[admission]\nearly_refusal = '1:101:3'", ":2:17: `admission`", "100 at most"),
    ("[admission]\npenalty = '1h'", ":1:1: `admission`", "not be above `penalty_max`"),
    ("[admission]\npenalty_min = 4", ":2:15: `admission`", "500ms"),
    ("[admission]\ngood_conduct = '0s'", ":1:1: `admission`", "forgive everything"),
    ("[admission]\npenalised_max = 0", ":1:1: `admission`", "not within 1 and 65536"),
    ("[admission]\nexempt = ['joe']", ":2:10: `admission`", "neither \"root\""),
    ("audit_log = 'audit'", ":1:13: `audit_log`", "not an absolute path"),
    ("log_file = '/a'\naudit_log = '/a'", ":2:13: `audit_log`", "same path as `log_file`"),
    ("access = 1", ":1:10: `access`", "takes a table"),
    ("[access]\nuser = []", ":2:1: `access`", "there are users, groups"),
    ("[access]\nusers = 'x'", ":2:9: `access`", "takes a list"),
    ("[access]\nusers = ['no such user']", ":2:10: `access`", "there is no user"),
    ("[access]\nusers = [-1]", ":2:10: `access`", "invalid digit"),
    ("[access]\nusers = [4294967295]", ":2:10: `access`", "no number of a user"),
    ("[access]\n\ngroups = [true]", ":3:11: `access`", "name or number of a group"),
    ("[access.modules]\nx = '@y'", ":2:5: `access`", "takes a list"),
    ("[access.modules]\nx = ['@no such group']", ":2:6: `access`", "there is no group"),
    ("[access.modules]\n'a/b' = []", ":2:1: `access`", "absolute path"),
    ("grace = '1s'\ngrace = '2s'", ":2:1: ", "duplicate"),
    ("grace = ", ":1:", ""),
    ("grace = '1s\n", ":1:", ""),
    ("= 5", ":1:1: ", ""),
];

#[test]
fn every_fault_has_its_place_and_reason() {
    for (text, place, reason) in BROKEN {
        let findings = load(text).expect_err(text);
        let line = findings.0[0].to_string();
        assert!(line.contains(&format!("test.toml{place}")), "{text}\n{line}");
        assert!(line.contains(reason), "{text}\n{line}");
        assert!(!line.contains('\n'), "{text}\n{line}");
    }
}

#[test]
fn all_faults_are_found_at_once() {
    let findings = load("spare = 1\ngrace = 5\nmax_workers = 0\nhugepages = 1\n").expect_err("bad");
    let lines: Vec<_> = findings.0.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 4, "{lines:#?}");
    for (line, place) in lines.iter().zip([":1:1", ":2:9", ":3:15", ":4:13"]) {
        assert!(line.contains(place), "{lines:#?}");
    }
}

#[test]
fn faults_of_the_command_line_name_the_option() {
    let options = Options { max_workers: Some(0), socket: Some("".into()), ..Options::default() };
    let findings = Config::load(options, place(), Purpose::Service).expect_err("bad");
    let text = findings.to_string();
    assert!(text.contains("--max-workers: 0 is not within"), "{text}");
    assert!(text.contains("--socket: "), "{text}");
    let long = Environment { socket: Some(format!("/{}", "x".repeat(200)).into()), ..place() };
    let findings = Config::load(Options::default(), long, Purpose::Service).expect_err("bad");
    assert!(findings.to_string().starts_with("MPSERVERD_SOCKET: "), "{findings}");
}

#[test]
fn files_that_cannot_be_read_are_named() {
    for (file, part) in [
        ("no.toml", "/srv/no.toml: cannot open"),
        ("/", "/: is a directory; name a file in it"),
        ("/dev/null", "/dev/null: is not a regular"),
    ] {
        let options = Options { config: Some(file.into()), ..Options::default() };
        let findings = Config::load(options, place(), Purpose::Service).expect_err(file);
        assert!(findings.to_string().contains(part), "{findings}");
    }
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("test.toml");
    for (bytes, part) in [
        (b"grace = '1s'\n# \xff".to_vec(), "test.toml:2:3: is not UTF-8"),
        (vec![b'#'; (1 << 20) + 1], "is larger than 1048576 bytes"),
    ] {
        std::fs::write(&file, bytes).expect("file");
        let options = Options { config: Some(file.clone()), ..Options::default() };
        let findings = Config::load(options, place(), Purpose::Service).expect_err(part);
        assert!(findings.to_string().contains(part), "{findings}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "[a-z_='\"\\[\\]{}.0-9\n #]{0,80}") {
        let _ = file::read(Path::new("x"), &text, &mut Draft::default());
    }

    #[test]
    fn any_change_of_the_example_is_answered(at in 0..EXAMPLE.len(), with in "[ -~\n]{0,4}") {
        let mut text = EXAMPLE.to_owned();
        let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.insert_str(at, &with);
        for finding in file::read(Path::new("x"), &text, &mut Draft::default()) {
            let placed = matches!(finding.origin, Origin::File { .. });
            prop_assert!(placed);
            prop_assert!(!finding.reason.is_empty());
        }
    }
}

#[test]
fn default_spares_follow_the_limit_of_workers() {
    let spares = |workers, spares| {
        let options = Options { max_workers: Some(workers), spares, ..Options::default() };
        let config = Config::load(options, place(), Purpose::Service);
        config.map(|config| (config.settings.spares_min, config.settings.spares_max))
    };
    assert_eq!(spares(1, None).expect("good"), (1, 1));
    assert_eq!(spares(20, None).expect("good"), (2, 20));
    assert_eq!(spares(4096, None).expect("good"), (2, 32));
    let asked = "2..32".parse().expect("spares");
    let findings = spares(1, Some(asked)).expect_err("bad");
    assert!(findings.to_string().contains("only 1 workers may run"), "{findings}");
}

#[test]
fn long_paths_of_sockets_are_good_as_long_as_their_names_are_short() {
    let load = |path: String| {
        let options = Options { socket: Some(path.into()), ..Options::default() };
        Config::load(options, place(), Purpose::Service)
    };
    let directory = "d".repeat(200);
    assert_eq!(load(format!("/{directory}/mpserverd.sock")).is_ok(), cfg!(target_os = "linux"));
    assert!(load(format!("/{directory}/{}", "n".repeat(83))).is_err());
    assert!(load(format!("/{}", "n".repeat(100))).is_ok());
}
