//! A small server on tokio: it takes calls, gives each request to one of its worker processes and
//! sends the answer back, and does all that on one thread.
//!
//! ```sh
//! cargo run -p mpserverd-client --example async_tokio
//! ```
//!
//! Awaited at once: a listener and its connections, two queues, a lock, an event, and the results
//! of the workers. Without an `mpserverd` the workers are spawned.

#[cfg(target_os = "linux")]
mod server {
    use mpserverd_client as mp;
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::sync::oneshot;

    const WORKERS: u32 = 2;
    const CLIENTS: u32 = 4;
    const REQUESTS: u32 = 5;

    type Job = (u64, String);
    type Answer = (u64, usize);

    /// Counts words until nobody has any more, and says how many texts it had.
    #[mp::task]
    fn count_words(jobs: mp::Consumer<Job>, answers: mp::Producer<Answer>, log: mp::Lock) -> u32 {
        let mut count = 0;
        for (id, text) in jobs.iter().flatten() {
            count += 1;
            {
                let _line = log.lock();
                println!("worker {}: {text:?}", std::process::id());
            }
            if answers.put(&(id, text.split_whitespace().count())).is_err() {
                break;
            }
        }
        count
    }

    /// What the tasks of the server share.
    struct Server {
        jobs: mp::Producer<Job>,
        /// Who waits for which answer.
        waiting: RefCell<HashMap<u64, oneshot::Sender<usize>>>,
        next: RefCell<u64>,
        log: mp::Lock,
    }

    impl Server {
        async fn ask(&self, text: String) -> Result<usize, Box<dyn std::error::Error>> {
            let (tell, told) = oneshot::channel();
            let id = self.next.replace_with(|next| *next + 1);
            self.waiting.borrow_mut().insert(id, tell);
            // A full queue makes this request wait, and no other work.
            self.jobs.put_async(&(id, text)).await?;
            Ok(told.await?)
        }

        async fn serve(&self, incoming: mp::Incoming) -> Result<(), Box<dyn std::error::Error>> {
            let connection = incoming.authenticate_async().await?;
            loop {
                let request = connection.recv_async::<String>();
                match mp::timeout(request, Duration::from_secs(10)).await? {
                    Ok(text) => connection.send_async(&self.ask(text).await?).await?,
                    Err(error) if error.is_disconnected() => return Ok(()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    /// A client, which is a process and knows nothing of all that.
    #[mp::task]
    fn call(address: mp::Address, number: u32) -> Result<usize, mp::TaskError> {
        let connection = mp::Client::connect(address, Some(b"secret"))?;
        let mut words = 0;
        for request in 0..REQUESTS {
            connection.send(&format!("request {request} of client {number}"))?;
            words += connection.recv::<usize>()?;
        }
        Ok(words)
    }

    /// Takes calls until it is told to stop, and serves each in a task of its own.
    async fn accept(server: Rc<Server>, listener: mp::Listener, stop: mp::Event) {
        let mut connections = tokio::task::JoinSet::new();
        loop {
            // Whichever is not ready first is dropped, and loses nothing.
            let incoming = tokio::select! {
                incoming = listener.accept_incoming_async() => incoming,
                () = stop.wait_async() => break,
            };
            let Ok(incoming) = incoming else { break };
            let server = server.clone();
            connections.spawn_local(async move {
                if let Err(error) = server.serve(incoming).await {
                    let _line = server.log.lock_async().await;
                    println!("a client: {error}");
                }
            });
        }
        connections.join_all().await;
    }

    /// Gives answers to who waits for them, until no worker is left who could have one.
    async fn dispatch(server: Rc<Server>, answers: mp::Consumer<Answer>) {
        while let Ok((id, words)) = answers.get_async().await {
            if let Some(tell) = server.waiting.borrow_mut().remove(&id) {
                let _ = tell.send(words);
            }
        }
    }

    pub(super) async fn run() -> Result<(), Box<dyn std::error::Error>> {
        let (jobs, theirs) = mp::Queue::<Job>::bounded(8)?.split();
        let (answers, ours) = mp::Queue::<Answer>::new()?.split();
        let (log, stop) = (mp::Lock::new()?, mp::Event::new()?);
        let ctx = mp::get_context(None);
        let mut workers = Vec::new();
        for number in 1..=WORKERS {
            let arguments = (theirs.clone(), answers.clone(), log.clone());
            let builder = ctx.process::<count_words>(arguments).name(format!("words-{number}"));
            workers.push(builder.start()?);
        }
        drop((theirs, answers)); // only the workers have them now

        let listener = mp::Listener::builder().authkey(b"secret").bind()?;
        let start = |number| ctx.process::<call>((listener.address().clone(), number)).start();
        let clients = (0..CLIENTS).map(start).collect::<Result<Vec<_>, _>>()?;
        let (waiting, next) = (RefCell::default(), RefCell::default());
        let server = Rc::new(Server { jobs, waiting, next, log });
        let accepts = tokio::task::spawn_local(accept(server.clone(), listener, stop.clone()));
        let dispatches = tokio::task::spawn_local(dispatch(server.clone(), ours));

        let mut words = 0;
        for client in &clients {
            words += client.result_async().await?.map_err(|error| error.to_string())?;
        }
        println!("{CLIENTS} clients sent {words} words");
        stop.set();
        accepts.await?;
        server.jobs.close(); // so the workers come to an end
        for worker in &workers {
            let texts = mp::timeout(worker.result_async(), Duration::from_secs(10)).await??;
            println!("{}: {texts} texts, exit code {}", worker.name(), worker.join_async().await);
        }
        dispatches.await?;
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    mpserverd_client::freeze_support(); // first: this program may be its own worker
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, server::run())
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("processes are started on Linux only");
}
