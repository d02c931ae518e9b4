//! What a request does.

use super::answer::{Answer, Outcome, Post};
use super::barrier::{Barrier, PARTIES_MAX};
use super::book::Book;
use super::cell::Cell;
use super::event::Event;
use super::map::Map;
use super::mutex::{Kind, Mutex};
use super::object::{Caller, Object, State};
use super::pool::{self, Initializer, Pending, Workers};
use super::queue::Queue;
use super::resolve::Resolve;
use super::semaphore::{Semaphore, VALUE_MAX};
use super::sequence::{Given, Sequence};
use super::session::Session;
use super::threads::Threads;
use super::user;
use crate::connection::greeting::Key;
use crate::manager::wire::{self, Failure, New, Op, PoolOp, QueueOp, Request, Start, VERSION};
use std::sync::Arc;

/// A digest. Nothing shorter is a key, the empty one least of all.
const TICKET_BYTES: usize = 32;
/// The longest name.
const NAME_BYTES_MAX: usize = 512;

/// Serves one session.
pub(super) struct Handler {
    pub(super) book: Arc<Book>,
    pub(super) threads: Arc<Threads>,
    pub(super) session: Arc<Session>,
    /// It has said which version it speaks.
    pub(super) greeted: bool,
    /// What ends the server.
    pub(super) stop: Box<dyn Fn() + Send>,
}

impl Handler {
    /// Does what a frame asks for; whether the session goes on.
    pub(super) fn handle(&mut self, frame: &[u8]) -> bool {
        let Some((call, rest)) = wire::split(frame) else { return false };
        let request = match wire::parse::<Request<'_>>(rest) {
            Ok(request) => request,
            Err(error) => {
                let failure = Failure::Malformed(format!("that is no request: {error}"));
                self.session.answer(call, &Answer::Failed(failure));
                return false;
            }
        };
        let mut post = Post::default();
        let goes_on = self.greeted || matches!(request.op, Op::Hello { .. });
        let outcome = match goes_on {
            true => self.act(call, request, &mut post),
            false => Err(Failure::Malformed("who does not greet is not served".to_owned())),
        };
        match outcome {
            Ok(None) => {}
            Ok(Some(answer)) => self.session.answer(call, &answer),
            Err(failure) => self.session.answer(call, &Answer::Failed(failure)),
        }
        post.send();
        goes_on
    }

    fn act(&mut self, call: u64, request: Request<'_>, post: &mut Post) -> Outcome {
        let (book, session) = (&self.book, &self.session);
        let object = request.object;
        Ok(Some(match request.op {
            Op::Hello { version, ticket } => self.welcome(version, ticket)?,
            Op::Shutdown => {
                session.answer(call, &Answer::Done);
                (self.stop)();
                return Ok(None);
            }
            Op::Stats => Answer::Stats(book.stats()),
            Op::Create(new) => return self.make(new, call),
            Op::Publish { name } if name.len() > NAME_BYTES_MAX => {
                let limit = NAME_BYTES_MAX as u64;
                return Err(Failure::Limit { what: "bytes a name".to_owned(), limit });
            }
            Op::Publish { name } => Answer::Yes(book.publish(name, session.object(object)?)?),
            Op::Find { name } => Answer::Object(book.find(name)?),
            Op::Unpublish { name } => Answer::Yes(book.unpublish(name)),
            Op::Adopt => Answer::Object(book.object(object)?),
            Op::Release { objects } => {
                objects.into_iter().for_each(|id| session.release(id, post));
                Answer::Done
            }
            Op::Lease => {
                book.lease(session.object(object)?);
                Answer::Done
            }
            Op::Cancel { call } => {
                session.object(object)?.cancel(session.id, call, post);
                return Ok(None);
            }
            Op::Void { call } => {
                session.object(object)?.void(session.id, call, post);
                return Ok(None);
            }
            op => return self.operate(&session.object(object)?, op, call, post),
        }))
    }

    /// Makes an object; one that runs users' code, or takes its time, on a thread of its own.
    fn make(&self, new: New<'_>, call: u64) -> Outcome {
        let (book, session) = (&self.book, &self.session);
        match new {
            New::User { name, constructor, args } => {
                let job = user::construction(name, constructor, session.resolve(args)?)?;
                let (book, caller) = (book.clone(), self.caller(call));
                self.threads.run(Box::new(move || {
                    let made = job().and_then(|(label, state)| book.create(label, state));
                    caller.session.answer(call, &made.map(Answer::Object).into());
                }))?;
            }
            New::Pool { processes, initializer } => {
                let resolve = |start: Start<'_>| -> Result<_, Failure> {
                    let args = session.resolve(start.args)?;
                    Ok(Initializer { name: start.name.to_owned(), schema: start.schema, args })
                };
                let initializer = initializer.map(resolve).transpose()?;
                let (book, caller) = (book.clone(), self.caller(call));
                self.threads.run(Box::new(move || {
                    let workers = Workers::start(processes, initializer).map(Arc::new);
                    let made = workers.and_then(|workers| {
                        book.create("PoolProxy".to_owned(), State::Pool(workers))
                    });
                    caller.session.answer(call, &made.map(Answer::Object).into());
                }))?;
            }
            new => return Ok(Some(Answer::Object(self.create(new)?))),
        }
        Ok(None)
    }

    fn welcome(&mut self, version: u32, ticket: &[u8]) -> Result<Answer, Failure> {
        if version != VERSION {
            return Err(Failure::Version(VERSION));
        }
        self.greeted = true;
        // The first greeting has none: it asks for what a ticket is made of.
        if ticket.len() == TICKET_BYTES {
            self.book.enrol(Key::of(ticket));
        }
        let lease_ms = u64::try_from(self.book.lease.as_millis()).unwrap_or(u64::MAX);
        Ok(Answer::Welcome { server: self.book.server, lease_ms })
    }

    fn caller(&self, call: u64) -> Caller {
        Caller { session: self.session.clone(), call }
    }

    fn create(&self, new: New<'_>) -> Result<Arc<Object>, Failure> {
        let by = &*self.session;
        let limit =
            |what: &str, limit: u32| Failure::Limit { what: what.to_owned(), limit: limit.into() };
        let (label, state) = match new {
            New::List(items) => {
                ("ListProxy", State::Sequence(Sequence::new(by.all(items)?, false)))
            }
            New::Array(items) => {
                ("ArrayProxy", State::Sequence(Sequence::new(by.all(items)?, true)))
            }
            New::Dict(pairs) => ("DictProxy", State::Map(Map::new(by.pairs(pairs)?))),
            New::Set(items) => {
                let pair = |key| (key, super::answer::Stored::nothing());
                let pairs = by.all(items)?.into_iter().map(pair).collect();
                ("SetProxy", State::Map(Map::new(pairs)))
            }
            New::Namespace => ("NamespaceProxy", State::Map(Map::default())),
            New::Value(item) => ("ValueProxy", State::Cell(Cell::new(by.resolve(item)?))),
            New::Queue { maxsize, joinable } => {
                let label = if joinable { "JoinableQueueProxy" } else { "QueueProxy" };
                (label, State::Queue(Queue::new(maxsize, joinable)))
            }
            New::Lock => ("LockProxy", State::Mutex(Mutex::new(Kind::Lock))),
            New::RLock => ("RLockProxy", State::Mutex(Mutex::new(Kind::RLock))),
            New::Condition => ("ConditionProxy", State::Mutex(Mutex::new(Kind::Condition))),
            New::Semaphore { value, .. } if value > VALUE_MAX => {
                return Err(limit("permits a semaphore", VALUE_MAX));
            }
            New::Semaphore { value, bounded } => {
                let label = if bounded { "BoundedSemaphoreProxy" } else { "SemaphoreProxy" };
                (label, State::Semaphore(Semaphore::new(value, bounded)))
            }
            New::Event => ("EventProxy", State::Event(Event::default())),
            New::Barrier { parties } if !(1..=PARTIES_MAX).contains(&parties) => {
                return Err(limit("parties a barrier, one at least,", PARTIES_MAX));
            }
            New::Barrier { parties } => ("BarrierProxy", State::Barrier(Barrier::new(parties))),
            // These run code that takes its time.
            New::User { .. } | New::Pool { .. } => return Err(Failure::WrongType),
        };
        self.book.create(label.to_owned(), state)
    }

    fn pool(&self, workers: &Arc<Workers>, op: PoolOp<'_>, caller: &Caller) -> Outcome {
        let pool = workers.pool().ok_or(Failure::NoObject)?;
        match op {
            PoolOp::Run { name, schema, inputs, detached } => {
                let inputs = self.session.all(inputs)?;
                if detached {
                    let state = State::Pending(Pending::default());
                    let object = self.book.create("AsyncResultProxy".to_owned(), state)?;
                    let settled = object.clone();
                    let settle = move |outcomes| {
                        let mut post = Post::default();
                        if let State::Pending(pending) = &mut *settled.state() {
                            pending.settle(outcomes, &mut post);
                        }
                        post.send();
                    };
                    pool::run(pool, (name, schema), inputs, settle)?;
                    return Ok(Some(Answer::Object(object)));
                }
                let caller = caller.clone();
                let answer = move |outcomes| {
                    caller.session.answer(caller.call, &Answer::Many(outcomes));
                };
                pool::run(pool, (name, schema), inputs, answer)?;
                Ok(None)
            }
            PoolOp::Close => {
                pool.close();
                Ok(Some(Answer::Done))
            }
            PoolOp::Terminate => {
                pool.terminate();
                Ok(Some(Answer::Done))
            }
            PoolOp::Join { timeout_ms } => {
                let (workers, caller) = (workers.clone(), caller.clone());
                self.threads.run(Box::new(move || {
                    let pool = workers.pool().ok_or(Failure::NoObject);
                    let answer = pool.and_then(|pool| pool::join(pool, timeout_ms)).into();
                    caller.session.answer(caller.call, &answer);
                }))?;
                Ok(None)
            }
        }
    }

    fn operate(&self, object: &Arc<Object>, op: Op<'_>, call: u64, post: &mut Post) -> Outcome {
        let caller = self.caller(call);
        let by = &*self.session;
        let mut state = object.state();
        let given = match (&mut *state, op) {
            (State::Sequence(sequence), Op::Sequence(op)) => sequence.apply(op, by)?,
            (State::Map(map), Op::Map(op)) => map.apply(op, by)?,
            (State::Cell(cell), Op::Cell(op)) => cell.apply(op, by)?.into(),
            (State::Iteration(iteration), Op::Next { count }) => iteration.next(count).into(),
            (State::Queue(queue), Op::Queue(op)) => {
                return match op {
                    QueueOp::Put { item, block } => {
                        queue.put(by.resolve(item)?, block, &caller, post)
                    }
                    QueueOp::Get { block } => queue.get(block, &caller, post),
                    QueueOp::PutBack { item } => {
                        Ok(Some(queue.put_back(by.resolve(item)?, by.id, post)))
                    }
                    QueueOp::Size => Ok(Some(queue.sizes())),
                    QueueOp::TaskDone { items } => queue.task_done(items, by.id, post),
                    QueueOp::Join => queue.join(&caller),
                };
            }
            (State::Mutex(mutex), Op::Mutex { thread, op }) => {
                return mutex.apply(op, thread, &caller, post);
            }
            (State::Semaphore(semaphore), Op::Semaphore(op)) => {
                return semaphore.apply(op, &caller, post);
            }
            (State::Event(event), Op::Event(op)) => return event.apply(op, &caller, post),
            (State::Barrier(barrier), Op::Barrier(op)) => return barrier.apply(op, &caller, post),
            (State::Pool(workers), Op::Pool(op)) => {
                let workers = workers.clone();
                drop(state);
                return self.pool(&workers, op, &caller);
            }
            (State::Pending(pending), Op::Pending(op)) => return pending.apply(op, &caller),
            (State::User(user), Op::Call { method, args }) => {
                let job = user.call(method, by.resolve(args)?);
                drop(state);
                let object = object.clone();
                self.threads.run(Box::new(move || {
                    let answer = job().into();
                    caller.session.answer(call, &answer);
                    drop(object);
                }))?;
                return Ok(None);
            }
            (State::User(user), Op::MakeConsistent) => {
                user.make_consistent();
                Answer::Done.into()
            }
            _ => return Err(Failure::WrongType),
        };
        drop(state);
        Ok(Some(match given {
            Given::Answer(answer) => answer,
            Given::Iteration(rest) => {
                let state = State::Iteration(rest);
                Answer::Object(self.book.create("IteratorProxy".to_owned(), state)?)
            }
        }))
    }
}
