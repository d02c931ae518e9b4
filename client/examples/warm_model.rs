//! A long-lived worker that keeps a heavy model warm and is asked over a pipe.
//!
//! The model is built by the `init` hook: once in the template when an `mpserverd` runs, else once
//! in the worker. A question that kills the worker costs that question: the next worker comes
//! with the model in memory.
//!
//! ```sh
//! cargo run --release -p mpserverd-client --example warm_model
//! mpserverd run -- target/release/examples/warm_model      # the same beside a warm template
//! ```

use mpserverd_client as mp;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// So many words the model knows.
const WORDS: usize = 200_000;
/// An answer takes at most so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which word follows which, learnt from a long text.
struct Model {
    next: Vec<[u32; 16]>,
}

static MODEL: OnceLock<Model> = OnceLock::new();

/// Builds the model: this stands for opening, parsing and compiling whatever is slow.
fn load() {
    MODEL.get_or_init(|| {
        let mut next = vec![[0; 16]; WORDS];
        let mut seed = 1u64;
        for _ in 0..200 {
            for (word, followers) in next.iter_mut().enumerate() {
                for follower in followers.iter_mut() {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(word as u64);
                    *follower = (seed >> 33) as u32 % WORDS as u32;
                }
            }
        }
        Model { next }
    });
}

mp::module! {
    name: "warm-model",
    init: load,
}

/// Answers questions until nobody is left to ask one.
#[mp::task]
fn serve(questions: mp::Connection) -> Result<usize, mp::TaskError> {
    let model = MODEL.get().ok_or_else(|| mp::TaskError::new("the init hook did not run"))?;
    let mut answered = 0;
    while let Ok(word) = questions.recv::<u32>() {
        // A bug of the kind that no error handling survives.
        if word == u32::MAX {
            std::process::abort();
        }
        let mut sentence = vec![word];
        while sentence.len() < 12 {
            let last = sentence[sentence.len() - 1] as usize % WORDS;
            sentence.push(model.next[last][sentence.len() % 16]);
        }
        questions.send(&sentence)?;
        answered += 1;
    }
    Ok(answered)
}

/// A worker and our end of its pipe.
struct Warm {
    process: mp::Process<Result<usize, mp::TaskError>>,
    pipe: mp::Connection,
}

impl Warm {
    fn start() -> Result<Self, Box<dyn std::error::Error>> {
        let (pipe, theirs) = mp::pipe(true)?;
        let ctx = mp::get_context(None);
        let process = ctx.process::<serve>((theirs,)).name("model").daemon(true).start()?;
        Ok(Self { process, pipe })
    }

    fn ask(&self, word: u32) -> Result<Vec<u32>, Box<dyn std::error::Error>> {
        self.pipe.send(&word)?;
        if !self.pipe.poll(Some(PATIENCE))? {
            return Err("no answer in time".into());
        }
        Ok(self.pipe.recv()?)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let start = Instant::now();
    let mut worker = Warm::start()?;
    let mut before = start;
    for word in [7, 11, u32::MAX, 13, 17] {
        match worker.ask(word) {
            Ok(sentence) => {
                println!("{word}: {:?}… after {:.1?}", &sentence[..4], before.elapsed())
            }
            Err(error) => {
                worker.process.join();
                let ending = worker.process.ending().ok_or("it lives")?;
                println!("{word}: {error}; the worker {ending}; a new one comes");
                worker = Warm::start()?;
            }
        }
        before = Instant::now();
    }
    drop(worker.pipe);
    println!("the last worker answered {}", worker.process.result()??);
    Ok(())
}
