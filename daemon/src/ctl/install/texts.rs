//! The units, as they lie in `systemd/`, where each line gives its reason.

/// The default configuration.
pub(super) const CONFIGURATION: &str = include_str!("../../../../systemd/mpserverd.toml");
/// Who may connect.
pub(super) const SYSUSERS: &str = include_str!("../../../../systemd/mpserverd.sysusers");
/// Folders.
pub(super) const TMPFILES: &str = include_str!("../../../../systemd/mpserverd.tmpfiles");

/// Units of the system manager.
pub(super) const SYSTEM: [(&str, &str); 2] = [
    ("mpserverd.socket", include_str!("../../../../systemd/mpserverd.socket")),
    ("mpserverd.service", include_str!("../../../../systemd/mpserverd.service")),
];
/// Those of which there may be several.
pub(super) const INSTANCES: [(&str, &str); 2] = [
    ("mpserverd@.socket", include_str!("../../../../systemd/mpserverd@.socket")),
    ("mpserverd@.service", include_str!("../../../../systemd/mpserverd@.service")),
];
/// Units of a user's manager.
pub(super) const USER: [(&str, &str); 2] = [
    ("mpserverd.socket", include_str!("../../../../systemd/user/mpserverd.socket")),
    ("mpserverd.service", include_str!("../../../../systemd/user/mpserverd.service")),
];
/// Drop-ins by profile.
pub(super) const PROFILES: [(&str, &str); 4] = [
    ("multi-user", include_str!("../../../../systemd/profiles/multi-user.conf")),
    ("jit", include_str!("../../../../systemd/profiles/jit.conf")),
    ("network", include_str!("../../../../systemd/profiles/network.conf")),
    ("sandbox", include_str!("../../../../systemd/profiles/sandbox.conf")),
];
/// A drop-in for the services where systemd is new enough, with the version that it takes.
pub(super) const NEWER: (u32, &str, &str) =
    (254, "systemd-254.conf", include_str!("../../../../systemd/newer/254.conf"));
