//! A program under test, for what a test harness cannot be: a process with one thread that sets
//! its own start method, closes its streams, leaves children behind, or is somebody else.
//!
//! The first argument says which; what it finds out it prints.

mpserverd_tests::main_on_linux!();

#[cfg(target_os = "linux")]
mod linux {
    use mp::{Fallback, StartMethod};
    use std::io::Write;
    use std::path::PathBuf;
    use std::time::Duration;

    /// Longer than any test waits.
    const LONG: Duration = Duration::from_secs(600);
    const PATIENCE: Duration = Duration::from_secs(60);

    #[mp::task]
    fn square(x: u64) -> u64 {
        x * x
    }

    #[mp::task]
    fn own_method() -> String {
        mp::get_start_method().to_string()
    }

    #[mp::task]
    fn sleep_for(time: Duration) {
        std::thread::sleep(time);
    }

    #[mp::task]
    fn mark_later(path: PathBuf, after: Duration) {
        std::thread::sleep(after);
        std::fs::write(path, "done").unwrap();
    }

    #[mp::task]
    fn recurse(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 64]);
        if frame[0] == u64::MAX { 0 } else { recurse(depth + 1) + frame[1] }
    }

    #[mp::task]
    fn cwd() -> std::io::Result<PathBuf> {
        std::env::current_dir()
    }

    #[mp::task]
    fn streams() -> Vec<String> {
        let name = |number| match std::fs::read_link(format!("/proc/self/fd/{number}")) {
            Ok(path) => path.display().to_string(),
            Err(error) => error.to_string(),
        };
        (0..3).map(name).collect()
    }

    pub(super) fn main() {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>();
        let arguments = arguments.iter().map(String::as_str).collect::<Vec<_>>();
        match arguments[..] {
            ["methods"] => methods(),
            ["defaults"] => defaults(),
            ["fork-with-threads"] => fork_with_threads(),
            ["leave-children", path] => leave_children(path.into()),
            ["children-of-a-victim", method] => children_of_a_victim(method.parse().unwrap()),
            ["closed-streams", method, out] => closed_streams(method.parse().unwrap(), out),
            ["deleted-cwd", method] => deleted_cwd(method.parse().unwrap()),
            ["exit-handlers", way] => exit_handlers(way),
            ["deadlines-of-orphans", method] => deadlines_of_orphans(method.parse().unwrap()),
            ["overflow", method] => overflow(method.parse().unwrap()),
            ["squares", count] => squares(count.parse().unwrap(), Fallback::Spawn),
            ["autostart"] => squares(3, Fallback::Autostart),
            ["fail"] => squares(1, Fallback::Fail),
            ["as-uid", uid, socket] => as_uid(uid.parse().unwrap(), socket),
            _ => panic!("unknown arguments {arguments:?}"),
        }
    }

    fn methods() {
        for method in mp::get_all_start_methods() {
            mp::force_start_method(Some(*method));
            let ctx = mp::get_context(None);
            let process = ctx.process::<own_method>(()).start().unwrap();
            println!("{method} {}", process.result().unwrap());
        }
    }

    /// Which uses fix the default start method, and which do not.
    fn defaults() {
        let fixed = |after: &str| println!("{after}: {:?}", mp::fixed_start_method());
        fixed("freeze_support");
        let concrete = mp::get_context(StartMethod::Spawn);
        assert_eq!(concrete.method(), StartMethod::Spawn);
        assert_eq!(concrete.process::<square>((3,)).start().unwrap().result().unwrap(), 9);
        fixed("concrete");
        mp::set_start_method(StartMethod::Fork).unwrap();
        fixed("set");
        println!("again: {}", mp::set_start_method(StartMethod::Spawn).unwrap_err());
        println!("concrete set: {}", concrete.set_start_method(StartMethod::Fork).unwrap_err());
        mp::force_start_method(Some(StartMethod::Spawn));
        fixed("force");
        mp::force_start_method(None);
        fixed("none");
        let default = mp::Context::default();
        println!("open: {:?}", default.fixed_start_method());
        println!("default: {}", mp::get_context(None).method());
        fixed("get_context");
        println!("default set: {}", default.set_start_method(StartMethod::Fork).unwrap_err());
        default.force_start_method(Some(StartMethod::Fork)).unwrap();
        println!("default forced: {}", default.method());
    }

    fn fork_with_threads() {
        let ctx = mp::get_context(StartMethod::Fork);
        println!("alone: {}", ctx.process_fn(|| 1).start().unwrap().result().unwrap());
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let builder = std::thread::Builder::new().name("other".to_owned());
        let (up, is_up) = std::sync::mpsc::channel::<()>();
        let body = move || (drop(up), wait.recv().is_err());
        let thread = builder.spawn(body).unwrap();
        // A thread gives itself its name.
        assert!(is_up.recv().is_err());
        println!("refused: {}", ctx.process_fn(|| 2).start().unwrap_err());
        let allowed = ctx.process_fn(|| 3).allow_threads(true).start().unwrap();
        println!("allowed: {}", allowed.result().unwrap());
        drop(done);
        thread.join().unwrap();
    }

    /// Ends with three children: a daemonic one, one that will end, and one that has ended.
    fn leave_children(path: PathBuf) {
        let ctx = mp::get_context(StartMethod::Spawn);
        let daemonic = ctx.process::<sleep_for>((LONG,)).daemon(true).start().unwrap();
        ctx.process::<mark_later>((path, Duration::from_millis(300))).start().unwrap();
        let ended = ctx.process::<square>((1,)).start().unwrap();
        ended.join();
        println!("{}", daemonic.pid());
    }

    /// Starts one child of each kind, prints their pids, and waits to be killed.
    fn children_of_a_victim(method: StartMethod) {
        let ctx = mp::get_context(method);
        let start = |process: mp::ProcessBuilder<()>| process.start().unwrap().pid();
        let sleeper = || ctx.process::<sleep_for>((LONG,)).stdout(mp::Stream::Null);
        let daemonic = start(sleeper().daemon(true));
        let other = start(sleeper());
        let tied = start(sleeper().on_parent_death(mp::OnParentDeath::Kill));
        println!("{daemonic} {other} {tied}");
        std::thread::sleep(LONG);
    }

    fn closed_streams(method: StartMethod, out: &str) {
        let mut out = std::fs::File::create(out).unwrap();
        for number in 0..3 {
            nix::unistd::close(number).unwrap();
        }
        let ctx = mp::get_context(method);
        for x in 0..3 {
            let process = ctx.process::<square>((x,)).start().unwrap();
            let result = process.result_timeout(PATIENCE);
            writeln!(out, "{:?} {:?}", result.ok(), process.join_timeout(PATIENCE)).unwrap();
        }
        let seen = ctx.process::<streams>(()).stdin(mp::Stream::Inherit).start().unwrap();
        writeln!(out, "{:?}", seen.result_timeout(PATIENCE).ok()).unwrap();
        // Nothing of the library's may have taken their place.
        writeln!(out, "{:?}", streams()).unwrap();
    }

    fn deleted_cwd(method: StartMethod) {
        let directory = tempfile::tempdir().unwrap();
        std::env::set_current_dir(directory.path()).unwrap();
        directory.close().unwrap();
        let ctx = mp::get_context(method);
        let kind = ctx.process::<cwd>(()).start().unwrap().result().unwrap().unwrap_err().kind();
        println!("{kind:?}");
    }

    /// Registers exit handlers here and in a fork, then ends in this way.
    fn exit_handlers(way: &str) {
        mp::at_exit(|| println!("first"));
        mp::at_exit(|| panic!("it keeps no other handler from running"));
        let fork = mp::get_context(StartMethod::Fork);
        let own = fork.process_fn(|| mp::at_exit(|| println!("the fork's own")));
        assert_eq!(own.start().unwrap().join(), 0);
        let child = fork.process_fn(|| std::thread::sleep(LONG)).daemon(true).start().unwrap();
        mp::at_exit(move || {
            mp::at_exit(|| println!("by a handler"));
            println!("last, with a child that runs: {}", child.is_alive());
        });
        match way {
            "return" => {}
            "exit" => std::process::exit(7),
            "exit-in-a-thread" => {
                let thread = std::thread::Builder::new().spawn(|| std::process::exit(7)).unwrap();
                drop(thread.join());
            }
            "panic" => panic!("as asked"),
            "abort" => std::process::abort(),
            "kill" => nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap(),
            _ => panic!("unknown way {way}"),
        }
    }

    /// Goes on when it is asked to end.
    #[mp::task]
    fn be_stubborn() {
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        signal_hook::flag::register(signal_hook::consts::SIGTERM, asked).unwrap();
        std::thread::sleep(LONG);
    }

    /// Starts one child that has a deadline and a short grace, and one that is tied to this process
    /// and in its long grace; prints their pids, and waits to be killed.
    fn deadlines_of_orphans(method: StartMethod) {
        let ctx = mp::get_context(method);
        let stubborn = || ctx.process::<be_stubborn>(()).stdout(mp::Stream::Null);
        let second = Duration::from_secs(1);
        let tied = stubborn().daemon(true).deadline(second).grace(LONG).start().unwrap();
        assert!(matches!(tied.result(), Err(mp::ProcessError::DeadlineExceeded(_))));
        assert!(tied.is_alive());
        let short = stubborn().deadline(second).grace(Duration::from_millis(300)).start().unwrap();
        println!("{} {}", tied.pid(), short.pid());
        std::thread::sleep(LONG);
    }

    fn overflow(method: StartMethod) {
        let process = mp::get_context(method)
            .process::<recurse>((0,))
            .rlimit(mp::Resource::Core, 0, 0)
            .start()
            .unwrap();
        println!("{}", process.join());
    }

    fn squares(count: u64, fallback: Fallback) {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_ansi(false)
            .without_time()
            .init();
        let ctx = mp::get_context(StartMethod::ForkServer).with_fallback(fallback);
        for x in 0..count {
            match ctx.process::<square>((x,)).start() {
                Ok(process) => {
                    println!("{}", process.result().unwrap());
                    assert_eq!(process.join(), 0);
                }
                Err(error) => println!("error: {error}"),
            }
        }
    }

    /// What the daemon of somebody else says to this user.
    fn as_uid(uid: u32, socket: &str) {
        use mpserverd_proto::client::Request;
        nix::unistd::setgroups(&[]).unwrap();
        nix::unistd::setgid(nix::unistd::Gid::from_raw(uid)).unwrap();
        nix::unistd::setuid(nix::unistd::Uid::from_raw(uid)).unwrap();
        let path = std::path::Path::new(socket);
        let connected = std::os::unix::net::UnixStream::connect(path);
        println!("connect: {}", connected.map_or_else(|e| e.kind().to_string(), |_| "ok".into()));
        match mp::daemon::Connection::open(path, None) {
            Ok(mut connection) => {
                let answer = connection.call(&Request::Status, &[], None);
                println!("status: {:?}", answer.map(|_| ()));
            }
            Err(error) => println!("client: {error}"),
        }
    }
}
