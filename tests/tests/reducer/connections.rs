//! Messages on connections, and two ends that do not match.

use super::{DRAFT, MSGPACK, binary};
use mp::{Address, Client, Connection, ConnectionError, Listener, Reducer};
use mpserverd_tests::suite;
use mpserverd_tests::suite::{PATIENCE, value};

suite![an_end_keeps_its_reducer_on_its_way, both_ends_are_named_when_they_differ];

#[mp::task]
fn echo(connection: Connection) -> String {
    let (number, text) = connection.recv_timeout::<(u64, String)>(PATIENCE).unwrap();
    connection.send(&(number + 1, text)).unwrap();
    connection.reducer().to_string()
}

fn an_end_keeps_its_reducer_on_its_way(ctx: &mp::Context) {
    for reducer in Reducer::all() {
        let (ours, theirs) = mp::pipe(true).unwrap();
        let (ours, theirs) = (ours.with_reducer(reducer), theirs.with_reducer(reducer));
        ours.send(&(7u64, "ä")).unwrap();
        let seen = value(ctx.process::<echo>((theirs,)));
        assert_eq!(seen, reducer.to_string());
        let back = ours.recv_timeout::<(u64, String)>(PATIENCE).unwrap();
        assert_eq!(back, (8, "ä".to_owned()), "{reducer}");
    }
}

/// What receiving says, twice, and then what comes as bytes.
#[mp::task]
fn receive(connection: Connection) -> (Vec<String>, Vec<u8>) {
    let receive = || match connection.recv_timeout::<u32>(PATIENCE) {
        Err(ConnectionError::ReducerMismatch { ours, theirs }) => format!("{ours} {theirs}"),
        other => format!("{other:?}"),
    };
    let said = vec![receive(), receive()];
    (said, connection.recv_bytes_timeout(None, PATIENCE).unwrap())
}

fn both_ends_are_named_when_they_differ(ctx: &mp::Context) {
    let all = Reducer::all().collect::<Vec<_>>();
    for (at, sends) in all.iter().enumerate() {
        let receives = all[(at + 1) % all.len()];
        let (ours, theirs) = mp::pipe(true).unwrap();
        let (mut ours, theirs) = (ours.with_reducer(*sends), theirs.with_reducer(receives));
        ours.send(&5u32).unwrap();
        // The connection goes on.
        ours.set_reducer(receives);
        ours.send(&6u32).unwrap();
        ours.send_bytes(b"bytes are bytes").unwrap();
        let (said, bytes) = value(ctx.process::<receive>((theirs,)));
        assert_eq!(said, [format!("{receives} {sends}"), "Ok(6)".to_owned()]);
        assert_eq!(bytes, b"bytes are bytes");
    }
}

#[test]
fn versions_differ_as_names_do() {
    let (ours, theirs) = mp::pipe(true).unwrap();
    let (ours, theirs) = (ours.with_reducer(DRAFT), theirs.with_reducer(MSGPACK));
    ours.send(&5).unwrap();
    let error = theirs.recv_timeout::<u32>(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("`draft/2`") && error.contains("`msgpack/1`"), "{error}");
}

#[test]
fn handles_are_messages_but_for_text() {
    for reducer in binary() {
        let (ours, theirs) = mp::pipe(true).unwrap();
        let (ours, theirs) = (ours.with_reducer(reducer), theirs.with_reducer(reducer));
        let value = mp::Value::new(1u8).unwrap();
        ours.send(&Some(&value)).unwrap();
        let back = theirs.recv_timeout::<Option<mp::Value<u8>>>(PATIENCE).unwrap();
        back.unwrap().fetch_add(1);
        assert_eq!(value.value(), 2, "{reducer}");
    }
    let (ours, theirs) = mp::pipe(true).unwrap();
    let ours = ours.with_reducer(Reducer::json());
    let error = ours.send(&mp::Lock::new().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no JSON form"), "{error}");
    assert!(!theirs.poll(None.or(Some(std::time::Duration::ZERO))).unwrap());
}

#[test]
fn handles_of_a_message_that_does_not_match_are_closed() {
    let (ours, theirs) = mp::pipe(true).unwrap();
    let ours = ours.with_reducer(Reducer::postcard());
    let (reader, writer) = std::io::pipe().unwrap();
    ours.send(&mp::Passed(writer)).unwrap();
    let error = theirs.recv_timeout::<mp::SharedFd>(PATIENCE).unwrap_err();
    assert!(matches!(error, ConnectionError::ReducerMismatch { .. }), "{error}");
    let mut reader = reader;
    assert_eq!(std::io::Read::read(&mut reader, &mut [0]).unwrap(), 0, "an end is left open");
}

#[test]
fn listeners_and_clients_are_made_with_one() {
    let tcp = Listener::builder().address(("localhost", 0));
    for (listener, reducer) in [(Listener::builder(), Reducer::postcard()), (tcp, MSGPACK)] {
        let listener = listener.authkey(b"key").reducer(reducer).bind().unwrap();
        assert_eq!(listener.reducer(), reducer);
        let address: Address = listener.address().clone();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let client = Client::builder(address).authkey(b"key").reducer(reducer);
                client.connect().unwrap().send(&(1u8, "called")).unwrap();
            });
            let connection = listener.accept_timeout(PATIENCE).unwrap();
            assert_eq!(connection.reducer(), reducer);
            let said = connection.recv_timeout::<(u8, String)>(PATIENCE).unwrap();
            assert_eq!(said, (1, "called".to_owned()));
        });
    }
}

#[mp::task]
fn accept(listener: Listener) -> String {
    let connection = listener.accept_timeout(PATIENCE).unwrap();
    format!("{} {}", connection.reducer(), connection.recv_timeout::<u8>(PATIENCE).unwrap())
}

#[test]
fn a_listener_takes_its_reducer_along() {
    let listener = Listener::builder().reducer(Reducer::json()).bind().unwrap();
    let client = Client::builder(listener.address().clone()).reducer(Reducer::json());
    client.connect().unwrap().send(&7).unwrap();
    let spawn = mp::get_context(mp::StartMethod::Spawn);
    assert_eq!(value(spawn.process::<accept>((listener,))), "json 7");
}
