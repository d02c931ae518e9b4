//! Who may use a daemon, and what users can do to each other by way of it. As root only: nobody
//! else can be somebody else.
#![cfg(target_os = "linux")]

mod host;
mod throw_away;

mp::enable_in_tests!();
