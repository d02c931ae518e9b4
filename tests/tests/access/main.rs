//! Who may use a daemon, and what users can do to each other by way of it. As root only: nobody
//! else can be somebody else.
#![cfg(target_os = "linux")]

mod audit;
mod crowded;
mod host;
mod matrix;
mod multi_user;
mod rights;
mod throw_away;

mp::enable_in_tests!();
