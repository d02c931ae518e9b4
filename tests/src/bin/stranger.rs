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
    use mp::{Fallback, StartMethod};
    use std::io::Write;

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
            _ => panic!("unknown arguments {arguments:?}"),
        }
    }
}
