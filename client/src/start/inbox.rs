//! The outcome of a worker, packet by packet: a large result has more descriptors than one holds.
//!
//! Nothing here blocks. A worker that is stopped between two packets has sent nothing yet, and one
//! that is killed there has ended without a word; what came of its descriptors is closed.

use crate::handles::SharedFd;
use crate::parcel::Parcel;
use crate::sys::{attributes, packet, scm::DescriptorsLost};
use mpserverd_proto::job::{self, Ended, Outcome};
use mpserverd_proto::limits::JOB_FDS_MAX;
use mpserverd_proto::packet::Kind;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What has come over the job socket.
#[derive(Debug)]
pub(crate) enum Received {
    /// Nothing yet.
    Nothing,
    /// How the task ended.
    Outcome(Box<(Outcome, Parcel)>),
    /// Somebody took it.
    Taken,
    /// The worker closed it without a word, or in the middle of one.
    End,
    /// It has more descriptors than this process has room for.
    Lost {
        /// This process's limit.
        limit: u64,
    },
    /// Bytes that are no outcome.
    Garbage(String),
}

/// An outcome of which descriptors are still to come.
#[derive(Debug)]
struct Partial {
    ended: Ended,
    payload: Vec<u8>,
    fds: Vec<OwnedFd>,
}

/// What has come so far.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    partial: Option<Partial>,
}

impl Inbox {
    /// Takes what is there, up to a whole outcome.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> Received {
        let mut resets = 0;
        let received = loop {
            match packet::receive(socket, true) {
                Ok(Some(packet)) => match self.add(packet) {
                    Received::Nothing => {}
                    other => break other,
                },
                Ok(None) => break Received::End,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Received::Nothing;
                }
                // A worker that ends with packets of its job unread resets the connection. That is
                // told first and once; what it had sent before is still there.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && resets == 0 => {
                    resets += 1;
                }
                Err(error) if DescriptorsLost::is(&error) => {
                    break Received::Lost { limit: attributes::descriptor_limit() };
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    break Received::Garbage(error.to_string());
                }
                Err(_) => break Received::End,
            }
        };
        self.partial = None;
        received
    }

    /// One packet more.
    fn add(&mut self, packet: packet::Packet) -> Received {
        match (packet.kind, &mut self.partial) {
            // In place of further descriptors: the worker could not send them and takes it back.
            (Kind::Outcome, partial) => match begin(packet) {
                Ok(begun) => *partial = Some(begun),
                Err(what) => return Received::Garbage(what),
            },
            (Kind::MoreFds, Some(partial)) if !packet.fds.is_empty() => {
                partial.fds.extend(packet.fds);
            }
            (kind, _) => return Received::Garbage(format!("unexpected {kind:?}")),
        }
        self.complete()
    }

    /// The outcome, if it has all its descriptors.
    fn complete(&mut self) -> Received {
        let Some(Partial { ended, fds, .. }) = &self.partial else { return Received::Nothing };
        let (total, got) = (usize::from(ended.handles), fds.len());
        if total > JOB_FDS_MAX || got > total {
            return Received::Garbage(format!("{total} descriptors announced, {got} came"));
        }
        match self.partial.take_if(|_| got == total) {
            None => Received::Nothing,
            Some(Partial { ended, payload, fds }) => {
                let fds = fds.into_iter().map(SharedFd::from).collect();
                Received::Outcome(Box::new((ended.outcome, Parcel { bytes: payload, fds })))
            }
        }
    }
}

fn begin(packet: packet::Packet) -> Result<Partial, String> {
    let (ended, payload) = job::split::<Ended>(&packet.body).map_err(|error| error.to_string())?;
    let at = packet.body.len() - payload.len();
    let mut payload = packet.body;
    payload.drain(..at);
    Ok(Partial { ended, payload, fds: packet.fds })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fd;
    use std::os::fd::AsFd;

    fn head(outcome: Outcome, handles: u16) -> Vec<u8> {
        job::head(&Ended { outcome, handles }).expect("encodes")
    }

    fn send(socket: &OwnedFd, kind: Kind, body: &[u8], fds: usize) {
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        packet::send(socket.as_fd(), kind, &[body], &vec![null.as_fd(); fds], true).expect("sent");
    }

    fn pair() -> (OwnedFd, OwnedFd) {
        fd::seqpacket_pair().expect("a pair")
    }

    #[test]
    fn an_outcome_in_pieces_is_nothing_until_the_last() {
        let ((ours, theirs), mut inbox) = (pair(), Inbox::default());
        send(&theirs, Kind::Outcome, &head(Outcome::Returned, 5), 2);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::Nothing));
        send(&theirs, Kind::MoreFds, &[], 1);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::Nothing));
        send(&theirs, Kind::MoreFds, &[], 2);
        let Received::Outcome(outcome) = inbox.receive(ours.as_fd()) else { panic!("incomplete") };
        assert_eq!((outcome.0, outcome.1.fds.len()), (Outcome::Returned, 5));
    }

    #[test]
    fn the_end_in_between_is_an_end() {
        let ((ours, theirs), mut inbox) = (pair(), Inbox::default());
        send(&theirs, Kind::Outcome, &head(Outcome::Returned, 5), 2);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::Nothing));
        drop(theirs);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::End));
        assert!(inbox.partial.is_none());
    }

    #[test]
    fn a_second_outcome_takes_the_first_back() {
        let ((ours, theirs), mut inbox) = (pair(), Inbox::default());
        send(&theirs, Kind::Outcome, &head(Outcome::Returned, 5), 2);
        let deadline = Outcome::DeadlineExceeded { limit_ms: 1 };
        send(&theirs, Kind::Outcome, &head(deadline.clone(), 0), 0);
        let Received::Outcome(outcome) = inbox.receive(ours.as_fd()) else { panic!("incomplete") };
        assert_eq!((outcome.0, outcome.1.fds.len()), (deadline, 0));
    }

    #[test]
    fn what_was_sent_before_a_reset_arrives() {
        let ((ours, theirs), mut inbox) = (pair(), Inbox::default());
        send(&ours, Kind::Job, &[], 0);
        send(&theirs, Kind::Outcome, &head(Outcome::Returned, 0), 0);
        drop(theirs);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::Outcome(_)));
        let (ours, theirs) = pair();
        send(&ours, Kind::Job, &[], 0);
        drop(theirs);
        assert!(matches!(inbox.receive(ours.as_fd()), Received::End));
    }

    #[test]
    fn absurd_counts_and_foreign_packets_are_refused() {
        let outcome = |handles| head(Outcome::Returned, handles);
        let hostile: [&[(Kind, Vec<u8>, usize)]; 6] = [
            &[(Kind::Outcome, outcome(1), 2)],
            &[(Kind::Outcome, outcome(u16::MAX), 0)],
            &[(Kind::Outcome, outcome(3), 2), (Kind::MoreFds, Vec::new(), 2)],
            &[(Kind::Outcome, outcome(3), 2), (Kind::MoreFds, Vec::new(), 0)],
            &[(Kind::MoreFds, Vec::new(), 1)],
            &[(Kind::Outcome, vec![0xff; 9], 0)],
        ];
        for packets in hostile {
            let ((ours, theirs), mut inbox) = (pair(), Inbox::default());
            for (kind, body, fds) in packets {
                send(&theirs, *kind, body, *fds);
            }
            let received = inbox.receive(ours.as_fd());
            assert!(matches!(received, Received::Garbage(_)), "{packets:?}: {received:?}");
        }
    }
}
