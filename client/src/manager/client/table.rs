//! The connections of this process, and the keys that it knows.

use super::Client;
use crate::connection::greeting::Key;
use crate::connection::{Address, Client as Caller};
use crate::deadline::Deadline;
use crate::error::AuthenticationError;
use crate::handles::SharedFd;
use crate::manager::error::ManagerError;
use crate::manager::wire::{Body, Op, VERSION};
use serde_bytes::Bytes;
use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// How long a server may take to greet.
const GREETING: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Table {
    clients: Vec<Weak<Client>>,
    /// Keys that this process was given, by server.
    keys: HashMap<u128, Key>,
}

static TABLE: Mutex<Option<Table>> = Mutex::new(None);

fn with_table<R>(with: impl FnOnce(&mut Table) -> R) -> R {
    let mut table: MutexGuard<'_, Option<Table>> =
        TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    with(table.get_or_insert_default())
}

/// What relatives of this process show to a server that knows one of them. Those that have no key
/// have nothing to show: anybody could make the same of it.
pub(in crate::manager) fn ticket(server: u128) -> Option<Key> {
    let authkey = crate::current::me().identity.authkey;
    let purpose = [b"mp.manager:", &server.to_le_bytes()[..]].concat();
    (!authkey.is_empty()).then(|| Key::of(&authkey).derive(&purpose))
}

/// The connection of this process to that server, if there is one.
fn known(server: u128) -> Option<Arc<Client>> {
    with_table(|table| {
        table.clients.retain(|client| client.strong_count() > 0);
        let own =
            |client: &Arc<Client>| client.server == server && client.is_own() && !client.is_gone();
        table.clients.iter().filter_map(Weak::upgrade).find(own)
    })
}

/// The key of a server is this one.
pub(in crate::manager) fn remember(server: u128, key: &Key) {
    with_table(|table| table.keys.insert(server, key.clone()));
}

/// The connection to a server, made if need be.
///
/// # Errors
/// [`ManagerError`]: `Gone` when nobody is there, `Replaced`, `Authentication`.
pub(in crate::manager) fn to(server: u128, address: &Address) -> Result<Arc<Client>, ManagerError> {
    if let Some(client) = known(server) {
        return Ok(client);
    }
    let key = with_table(|table| table.keys.get(&server).cloned());
    let keyless = || AuthenticationError("this process has no key".to_owned());
    let key = key.or_else(|| ticket(server)).ok_or_else(keyless)?;
    let client = connect(address, &key, GREETING);
    let client = client.map_err(|error| match error {
        ManagerError::Connection(_) => ManagerError::Gone { address: address.clone() },
        other => other,
    })?;
    if client.server != server {
        return Err(ManagerError::Replaced { address: address.clone() });
    }
    Ok(client)
}

/// A connection to whatever server is there; that of this process, if it has one.
///
/// # Errors
/// [`ManagerError`]: `Connection`, `Authentication`, `Timeout`, `Version`.
pub(in crate::manager) fn connect(
    address: &Address,
    key: &Key,
    timeout: Duration,
) -> Result<Arc<Client>, ManagerError> {
    let caller = Caller::builder(address).authkey(key.bytes());
    let connection = caller.timeout(timeout).handshake_timeout(timeout).connect()?;
    let socket = SharedFd::from(connection.into_fd()?);
    let mut client = Client::over(socket, address.clone());
    let (server, lease) = greet(&client, timeout)?;
    client.server = server;
    client.lease = lease;
    if let Some(known) = known(server) {
        return Ok(known);
    }
    let client = Arc::new(client);
    with_table(|table| table.clients.push(Arc::downgrade(&client)));
    // A second thread may have been here at the same time: then there are two, which does no harm.
    Ok(client)
}

fn greet(client: &Client, timeout: Duration) -> Result<(u128, Duration), ManagerError> {
    // The ticket is for that server alone, so it must be known who it is: it says so first.
    let deadline = Deadline::within(timeout);
    let hello = |ticket: &[u8]| {
        let op = Op::Hello { version: VERSION, ticket: Bytes::new(ticket) };
        client.call(0, op, &deadline)
    };
    let reply = hello(&[])?;
    let (server, lease_ms) = match reply.body()? {
        Body::Welcome { server, lease_ms } => (server, lease_ms),
        Body::Failed(failure) => return Err(ManagerError::of(failure, "Manager")),
        other => return Err(ManagerError::Protocol(format!("a greeting of {other:?}"))),
    };
    if let Some(ticket) = ticket(server) {
        hello(ticket.bytes())?;
    }
    Ok((server, Duration::from_millis(lease_ms)))
}

/// In a fork: gives up the connections of the parent, whose end must show at the server. Their
/// numbers stay taken, by `/dev/null`, for what the fork copied.
pub(crate) fn forget_links() {
    // A thread that the fork does not have may have held it.
    let Ok(mut table) = TABLE.try_lock() else { return };
    let Ok(null) = std::fs::File::open("/dev/null") else { return };
    let clients = table.iter_mut().flat_map(|table| table.clients.drain(..));
    for client in clients.filter_map(|client| client.upgrade()) {
        crate::sys::fd::cover(null.as_fd(), client.socket.as_fd().as_raw_fd());
        // Never dropped here: it is the fork's copy of what the parent has.
        std::mem::forget(client);
    }
}
