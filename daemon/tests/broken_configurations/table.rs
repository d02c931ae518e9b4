//! Texts that are wrong: what the file holds, where the fault is, and a part of the reason.
//! `{folder}` is the folder of the file, which has what [`prepare`] puts there.

use std::path::Path;

/// Files that configurations name.
pub(crate) fn prepare(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("file");
    write("empty.so", b"");
    write("script.so", b"#!/bin/sh\nexit 1\n");
    write("text.so", b"this is no library\n");
    // A head that promises what is not there.
    write("cut.so", b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
    // The same, complete, of another machine: 64 bit, big-endian, SPARC.
    let mut foreign = b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0\0\x03\0\x2b".to_vec();
    foreign.resize(4096, 0);
    write("foreign.so", &foreign);
    std::fs::create_dir(folder.join("folder.so")).expect("folder");
    std::os::unix::fs::symlink("round.so", folder.join("round.so")).expect("link");
}

pub(crate) const BROKEN: &[(&str, &str, &str)] = &[
    // Keys that do not exist.
    ("max_worker = 5", ":1:1: `max_worker`", "did you mean `max_workers`?"),
    ("# fine\n\nmax-workers = 5", ":3:1: `max-workers`", "did you mean `max_workers`?"),
    ("Grace = '1s'", ":1:1: `Grace`", "did you mean `grace`?"),
    ("workers_max = 5", ":1:1: `workers_max`", "did you mean `max_workers`?"),
    ("metrics_adress = '127.0.0.1:9'", ":1:1: `metrics_adress`", "`metrics_address`?"),
    ("include = '/etc/mpserverd/more.toml'", ":1:1: `include`", "unknown key"),
    ("include = '{folder}/test.toml'", ":1:1: `include`", "unknown key"),
    ("[service]\ngrace = '1s'", ":1:2: `service`", "unknown key"),
    ("[[workers]]\nspares = '1'", ":1:3: `workers`", "unknown key"),
    ("socket.path = '/run/x'", ":1:1: `socket`", "absolute path in quotes"),
    // Keys that are there twice.
    ("grace = '1s'\ngrace = '1s'", ":2:1: ", "duplicate key `grace`"),
    ("[a]\n[a]\n", ":2:2: ", "duplicate"),
    // Values of the wrong type.
    ("max_workers = '5'", ":1:15: `max_workers`", "whole number, this is a TOML string"),
    ("max_workers = true", ":1:15: `max_workers`", "TOML boolean"),
    ("max_workers = 5.0", ":1:15: `max_workers`", "TOML float"),
    ("max_workers = [5]", ":1:15: `max_workers`", "TOML array"),
    ("max_workers = {}", ":1:15: `max_workers`", "TOML table"),
    ("max_workers = 2024-01-01", ":1:15: `max_workers`", "TOML datetime"),
    ("grace = 10", ":1:9: `grace`", "500ms"),
    ("hugepages = 1", ":1:13: `hugepages`", "takes true or false"),
    ("daemonize = 'no'", ":1:13: `daemonize`", "takes true or false"),
    ("preload = 'a'", ":1:11: `preload`", "takes a list"),
    ("preload = ['a', ['b']]", ":1:17: `preload`", "TOML array"),
    ("module_path = '/a:/b'", ":1:15: `module_path`", "takes a list"),
    ("log_level = ['info']", ":1:13: `log_level`", "TOML array"),
    ("metrics_address = 9273", ":1:19: `metrics_address`", "ADDRESS:PORT"),
    // Numbers out of range.
    ("max_workers = 0", ":1:15: `max_workers`", "not within 1 and 4194304"),
    ("max_workers = -1", ":1:15: `max_workers`", "from 0 on, this is -1"),
    ("max_workers = 4194305", ":1:15: `max_workers`", "not within"),
    ("max_workers = 99999999999999999999", ":1:15: `max_workers`", "is too large a number"),
    ("max_clients = 0x7fffffffffffffff", ":1:15: `max_clients`", "not within 1 and 65536"),
    ("max_templates = 0o20000", ":1:17: `max_templates`", "8192 is not within"),
    ("spares = '1..99999999999'", ":1:10: `spares`", "MIN..MAX"),
    ("spares = '-1..2'", ":1:10: `spares`", "MIN..MAX"),
    ("spares = '8..4'", ":1:10: `spares`", "8 is more than 4"),
    ("max_workers = 10\nspares = '2..11'", ":2:10: `spares`", "only 10 workers may run"),
    // Times.
    ("grace = '-5s'", ":1:9: `grace`", "it is negative"),
    ("grace = '5'", ":1:9: `grace`", "500ms, 2s"),
    ("grace = '5 parsecs'", ":1:9: `grace`", "not a duration"),
    ("grace = '99999999999999999999s'", ":1:9: `grace`", "not a duration"),
    ("grace = '100years'", ":1:9: `grace`", "not within 0s and 1year"),
    ("preload_timeout = '0s'", ":1:19: `preload_timeout`", "not within 1ms and 1day"),
    ("backoff_min = '2m'\nbackoff_max = '1m'", ":1:15: `backoff_min`", "more than `backoff_max`"),
    // Words.
    ("on_preload_error = 'FAIL'", ":1:20: `on_preload_error`", "ignore, warn, fail"),
    ("stop_policy = ''", ":1:15: `stop_policy`", "wait, term, kill"),
    ("log_level = 'verbose'", ":1:13: `log_level`", "off, error, warn"),
    ("log_level = 'mpserverd=loud'", ":1:13: `log_level`", "not a level or directive"),
    ("log_format = 'journald'", ":1:14: `log_format`", "text, json"),
    // Addresses.
    ("metrics_address = 'localhost:9273'", ":1:19: `metrics_address`", "127.0.0.1:9273"),
    ("metrics_address = '127.0.0.1'", ":1:19: `metrics_address`", "with a port"),
    ("metrics_address = '127.0.0.1:99999'", ":1:19: `metrics_address`", "with a port"),
    ("metrics_address = '0.0.0.0:9273'", ":1:19: `metrics_address`", "`metrics_public = true`"),
    // Paths.
    ("socket = 'mpserverd.sock'", ":1:10: `socket`", "not an absolute path"),
    ("log_file = '{folder}'", ":1:12: `log_file`", "is a directory"),
    ("log_file = ''", ":1:12: `log_file`", "not an absolute path"),
    ("log_file = \"/a\\u0000b\"", ":1:12: `log_file`", "does not name a file"),
    ("pid_file = '/x'\nlog_file = '/x'", ":2:12: `log_file`", "same path as `pid_file`"),
    // Modules.
    ("preload = ['a', 'a']", ":1:11: `preload`", "listed twice"),
    ("preload = ['']", ":1:11: `preload`", "1 to 512 bytes"),
    ("preload = ['./a.so']", ":1:12: `preload`", "absolute path"),
    (
        "on_preload_error = 'fail'\npreload = ['shop']",
        ":2:11: `preload`: `shop` not found",
        "MPSERVERD_MODULE_PATH",
    ),
    (
        "on_preload_error = 'fail'\nmodule_path = ['/no/such']\npreload = ['shop']",
        ":3:11: `preload`: `shop` not found",
        "/no/such/libshop.so",
    ),
    (
        "on_preload_error = 'fail'\nmodule_path = ['/no/such']\npreload = ['shop']",
        ":2:15: `module_path`: `/no/such`",
        "cannot be searched",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/folder.so']",
        ":2:11: `preload`",
        "(a directory)",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/round.so']",
        ":2:11: `preload`",
        "Too many levels of symbolic links",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/empty.so']",
        ":2:11: `preload`",
        "cannot be loaded as a shared object",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/script.so']",
        ":2:11: `preload`",
        "cannot be loaded as a shared object",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/text.so']",
        ":2:11: `preload`",
        "cannot be loaded as a shared object",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/cut.so']",
        ":2:11: `preload`",
        "cannot be loaded as a shared object",
    ),
    (
        "on_preload_error = 'fail'\npreload = ['{folder}/foreign.so']",
        ":2:11: `preload`",
        "another machine",
    ),
    // Texts that are no TOML.
    ("grace", ":1:", ""),
    ("grace =", ":1:", ""),
    ("grace = '1s", ":1:", ""),
    ("grace = \"\\q\"", ":1:", ""),
    ("preload = ['a'\ngrace = '1s'", ":2:", ""),
    ("<grace>1s</grace>", ":1:1: ", ""),
    ("{\"grace\": \"1s\"}", ":1:1: ", ""),
    ("\u{feff}\u{feff}grace = '1s'", ":1:", ""),
    ("grace = '1s' # \u{1}", ":1:", ""),
];
