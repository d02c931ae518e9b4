//! Who may use which daemon.

use crate::machine::Machine;
use crate::service::{Recipe, Service};

/// Who is not in the group does not reach the socket, and is told.
pub(crate) fn strangers(machine: &Machine) {
    let service = Service::install(machine, "closed", Recipe::default());
    service.systemctl("start").ok();
    let said = service.mpctl_as("bob", &["ping"]);
    assert_eq!(said.code, 111, "{said:?}");
    assert!(said.err.contains("Permission denied"), "{said:?}");
    let said = service.mpctl_as("bob", &["doctor"]);
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.out.contains("usermod -aG mpserverd"), "{said:?}");
}
