//! A client that tests run as another user: it does one thing and prints what came of it.

#[cfg(target_os = "linux")]
fn main() {
    mp::freeze_support();
    linux::main();
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use mp::daemon::Connection;
    use mp::{DaemonError, Fallback, StartMethod};
    use mpserverd_proto::client::{Reply, Request, Target, TemplateSpec};
    use mpserverd_proto::ids::PoolId;
    use mpserverd_proto::template::OnPreloadError;
    use std::io::Write;
    use std::os::fd::{AsFd, BorrowedFd};

    /// What the kernel says about a worker.
    #[mp::task]
    fn status() -> std::io::Result<String> {
        std::fs::read_to_string("/proc/self/status")
    }

    /// A worker's environment, a variable a line.
    #[mp::task]
    fn environment() -> Vec<String> {
        std::env::vars().map(|(name, value)| format!("{name}={value}")).collect()
    }

    /// The limit that stands in a worker's way when it wants to be somebody else.
    #[mp::task]
    fn become_root() -> Vec<String> {
        let mut ways = Vec::new();
        let zero = nix::unistd::Uid::from_raw(0);
        ways.push(format!("setuid {:?}", nix::unistd::setuid(zero)));
        ways.push(format!("setresuid {:?}", nix::unistd::setresuid(zero, zero, zero)));
        let zero = nix::unistd::Gid::from_raw(0);
        ways.push(format!("setgid {:?}", nix::unistd::setgid(zero)));
        ways.push(format!("setgroups {:?}", nix::unistd::setgroups(&[zero])));
        ways
    }

    #[mp::task]
    fn sleep_for_ever() {
        loop {
            std::thread::sleep(std::time::Duration::from_secs(60));
        }
    }

    /// Tries to reach another process in every way there is; tells which attempts succeeded.
    fn attack(victim: u32) -> Vec<String> {
        use nix::sys::{ptrace, signal, uio};
        use nix::unistd::Pid;
        use std::fs::{File, read, read_dir, read_link};
        let pid = Pid::from_raw(victim as i32);
        let path = |name: &str| format!("/proc/{victim}/{name}");
        let mut buffer = [0; 16];
        let own = uio::RemoteIoVec { base: 0x1000, len: 16 };
        let pidfd = mp::sys::wait::pidfd_open(victim);
        let pidfd = |signal| {
            let done = pidfd.as_ref().map(|pidfd| {
                use std::os::fd::AsFd;
                mp::sys::wait::signal(pidfd.as_fd(), signal)
            });
            matches!(done, Ok(Ok(())))
        };
        let pages = match uio::process_vm_readv(
            pid,
            &mut [std::io::IoSliceMut::new(&mut buffer)],
            &[own],
        ) {
            // The address means nothing, but the right to look was there.
            Ok(_) | Err(nix::errno::Errno::EFAULT) => true,
            Err(_) => false,
        };
        let cgroup = std::fs::read_to_string(path("cgroup")).unwrap_or_default();
        let unified = cgroup.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let kill = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].iter().any(|root| {
            let file = format!("{root}{unified}/cgroup.kill");
            std::fs::OpenOptions::new().write(true).open(file).is_ok()
        });
        let limits = nix::sched::sched_setaffinity(pid, &nix::sched::CpuSet::new());
        let attempts = [
            ("memory", File::options().read(true).open(path("mem")).is_ok()),
            ("memory to write", File::options().write(true).open(path("mem")).is_ok()),
            ("maps", read(path("maps")).is_ok_and(|text| !text.is_empty())),
            ("smaps", read(path("smaps_rollup")).is_ok_and(|text| !text.is_empty())),
            ("environment", read(path("environ")).is_ok_and(|text| !text.is_empty())),
            ("auxiliary vector", read(path("auxv")).is_ok_and(|text| !text.is_empty())),
            ("descriptors", read_dir(path("fd")).is_ok_and(|mut fds| fds.next().is_some())),
            ("a descriptor", (0..64).any(|fd| File::open(path(&format!("fd/{fd}"))).is_ok())),
            ("program", read_link(path("exe")).is_ok()),
            ("directory", read_link(path("cwd")).is_ok()),
            ("root", read_dir(path("root")).is_ok()),
            ("oom score", std::fs::write(path("oom_score_adj"), "1000").is_ok()),
            ("process_vm_readv", pages),
            ("affinity", matches!(limits, Ok(()) | Err(nix::errno::Errno::EINVAL))),
            ("signal 0", signal::kill(pid, None).is_ok()),
            ("signal 0 by pidfd", pidfd(0)),
            ("SIGTERM", signal::kill(pid, signal::Signal::SIGTERM).is_ok()),
            ("SIGKILL by pidfd", pidfd(9)),
            ("cgroup.kill", kill),
            ("ptrace", ptrace::seize(pid, ptrace::Options::empty()).is_ok()),
        ];
        let done = attempts.iter().filter(|(_, done)| *done);
        done.map(|(what, _)| format!("{victim}: {what}")).collect()
    }

    /// The same from inside a worker.
    #[mp::task]
    fn attack_from_worker(victims: Vec<u32>) -> Vec<String> {
        victims.into_iter().flat_map(attack).collect()
    }

    /// Asks for a template and its modules by hand; says what came of it.
    fn open_template(target: Target, modules: &[&str], fds: &[BorrowedFd<'_>]) -> String {
        let socket = std::env::var("MPSERVERD_SOCKET").unwrap();
        let mut daemon = Connection::open(std::path::Path::new(&socket), None).unwrap();
        let request = Request::OpenTemplate(TemplateSpec {
            target,
            modules: modules.iter().map(ToString::to_string).collect(),
            on_error: OnPreloadError::Fail,
            environment: Vec::new(),
        });
        let pool = match daemon.call(&request, fds, None) {
            Ok((Reply::Opened(pool), _)) => pool,
            Ok(other) => panic!("{other:?}"),
            Err(error) => return format!("refused: {error}"),
        };
        match daemon.call(&Request::TemplateModules { pool, wait_ms: 60_000 }, &[], None) {
            Ok((Reply::Modules(report), _)) => {
                let modules = report.templates.iter().flat_map(|template| &template.modules);
                format!("loaded: {:?}", modules.map(|module| &module.name).collect::<Vec<_>>())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => format!("failed: {error}"),
        }
    }

    /// Asks for workers of pools, and for the end of workers, that others have.
    fn steal() -> Vec<String> {
        let socket = std::env::var("MPSERVERD_SOCKET").unwrap();
        let mut daemon = Connection::open(std::path::Path::new(&socket), None).unwrap();
        let mut stolen = Vec::new();
        for pool in 0..64 {
            let lease =
                Request::Lease { pool: PoolId(pool), wait_ms: 1000, task: None, trace: None };
            if !matches!(daemon.call(&lease, &[], None), Err(DaemonError::Refused(_))) {
                stolen.push(format!("pool {pool}"));
            }
        }
        stolen
    }

    /// Keeps so many descriptors in flight until its input ends.
    fn hoard(count: usize) {
        mp::sys::attributes::raise_descriptor_limit().unwrap();
        let (ours, _theirs) = mp::sys::fd::seqpacket_pair().unwrap();
        let null = std::fs::File::open("/dev/null").unwrap();
        let packet = vec![null.as_fd(); 250];
        for _ in 0..count.div_ceil(packet.len()) {
            mp::sys::scm::send(ours.as_fd(), &[b"x"], &packet, true).unwrap();
        }
        println!("hoarded");
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
    }

    pub(super) fn main() {
        let arguments = std::env::args().skip(1).collect::<Vec<_>>();
        let ctx = mp::get_context(StartMethod::ForkServer).with_fallback(Fallback::Fail);
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["status"] => match ctx.process::<status>(()).start() {
                Ok(process) => print!("{}", process.result().unwrap().unwrap()),
                Err(error) => println!("refused: {error}"),
            },
            ["environment"] => {
                let process = ctx.process::<environment>(()).start().unwrap();
                process.result().unwrap().iter().for_each(|line| println!("{line}"));
            }
            ["become-root"] => {
                let process = ctx.process::<become_root>(()).start().unwrap();
                process.result().unwrap().iter().for_each(|line| println!("{line}"));
            }
            ["hold"] => {
                let process = ctx.process::<sleep_for_ever>(()).start().unwrap();
                println!("{}", process.pid());
                std::io::stdout().flush().unwrap();
                std::io::stdin().read_line(&mut String::new()).unwrap();
                process.terminate().unwrap();
                println!("{}", process.join());
            }
            ["attack", ref victims @ ..] => {
                let victims = victims.iter().map(|pid| pid.parse::<u32>().unwrap());
                let victims = victims.collect::<Vec<_>>();
                victims.iter().flat_map(|pid| attack(*pid)).for_each(|line| println!("{line}"));
                println!("worker");
                let process = ctx.process::<attack_from_worker>((victims,)).start().unwrap();
                process.result().unwrap().iter().for_each(|line| println!("{line}"));
            }
            ["modules", ref modules @ ..] => {
                println!("{}", open_template(Target::Modules, modules, &[]));
            }
            ["execute", path] => {
                use std::os::unix::fs::OpenOptionsExt;
                let file =
                    std::fs::File::options().read(true).custom_flags(libc::O_PATH).open(path);
                let target = Target::Executable { path: path.as_bytes().to_vec() };
                println!("{}", open_template(target, &[], &[file.unwrap().as_fd()]));
            }
            ["hoard", count] => hoard(count.parse().unwrap()),
            ["steal"] => steal().iter().for_each(|line| println!("{line}")),
            _ => panic!("unknown arguments {arguments:?}"),
        }
    }
}
