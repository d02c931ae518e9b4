//! The daemon `mpserverd` and its command line `mpctl`.
//!
//! | module | holds |
//! |---|---|
//! | [`access`] | who may use the daemon, and what of it |
//! | `assume` | becoming the user that a template is for (Linux) |
//! | [`cli`] | the command lines of both programs, completions, man pages |
//! | [`config`] | options from file, environment and command line; names and files of modules |
//! | [`logging`] | where log lines go and what they look like |
//! | `daemonize` | going into the background (Unix) |
//! | [`launch`] | telling whoever started the daemon that it is ready |
//! | [`pid_file`] | the locked pid file |
//! | [`state`] | the form of the state that one image of the daemon hands to the next |
//! | [`serve`] | from a configuration to a daemon that serves |
//! | `server` | the loop and its I/O (Linux) |
//! | [`core`] | the daemon's book, without I/O |
//! | [`metrics`] | the daemon's numbers as OpenMetrics text |
//! | [`ctl`] | what the commands of `mpctl` do |
//! | `tasks` | tasks that every host of modules has (Unix) |

pub mod access;
#[cfg(target_os = "linux")]
pub mod assume;
pub mod cli;
pub mod config;
pub mod core;
#[cfg(target_os = "linux")]
pub mod ctl;
#[cfg(not(target_os = "linux"))]
#[path = "ctl/unsupported.rs"]
pub mod ctl;
#[cfg(unix)]
pub mod daemonize;
pub mod launch;
pub mod logging;
pub mod metrics;
pub mod pid_file;
pub mod serve;
#[cfg(target_os = "linux")]
mod server;
pub mod state;
#[cfg(unix)]
pub mod tasks;
