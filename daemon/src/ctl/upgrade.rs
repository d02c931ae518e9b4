//! `mpctl upgrade`: returns once the new program serves.

use super::error::CtlError;
use super::screen::Screen;
use super::{connect, units};
use crate::cli::mpctl::Upgrade;
use mpserverd_proto::client::{Reply, Request, Upgraded};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::time::Duration;

/// Two questions to the new program, the end of a reload before that, and some more.
const UPGRADE: Duration = Duration::from_secs(630);

/// `mpctl upgrade`.
pub(super) fn main(
    socket: Option<&Path>,
    screen: &Screen,
    options: &Upgrade,
) -> Result<u8, CtlError> {
    let absolute = |path: &Path| {
        let absolute = std::path::absolute(path);
        absolute.map_err(|error| CtlError::usage(format!("--binary {}: {error}", path.display())))
    };
    let binary = options.binary.as_deref().map(absolute).transpose()?;
    let binary = binary.map(|path| path.into_os_string().into_vec());
    let mut connection = connect::open(socket)?;
    match connect::ask_within(&mut connection, &Request::Upgrade { binary }, UPGRADE)? {
        Reply::Upgraded(upgraded) => screen.show(&upgraded, || text(&upgraded)),
        other => Err(CtlError::unexpected(&other)),
    }
}

fn text(upgraded: &Upgraded) -> String {
    let Upgraded { from, to, binary, pid, pause_us, workers } = upgraded;
    let pause = units::span(Duration::from_micros(*pause_us));
    let versions = if from == to { to.clone() } else { format!("{from}, now {to}") };
    format!(
        "mpserverd {versions} (pid {pid}) goes on as {binary}: {workers} workers carried over, \
         pause {pause}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_upgrade_did() {
        let mut upgraded = Upgraded {
            from: "1.0.0".into(),
            to: "1.1.0".into(),
            binary: "/b".into(),
            pid: 7,
            pause_us: 1500,
            workers: 3,
        };
        let shown = text(&upgraded);
        assert!(shown.starts_with("mpserverd 1.0.0, now 1.1.0 (pid 7) goes on as /b: 3 workers"));
        upgraded.to = "1.0.0".into();
        assert!(text(&upgraded).starts_with("mpserverd 1.0.0 (pid 7)"), "{}", text(&upgraded));
    }
}
