//! rayon: what threads of one process reach, which nothing between processes can.

use super::crew::Maps;
use super::tasks::work;
use mpserverd_tests::bench::text;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use std::hint::black_box;

impl Maps for rayon::ThreadPool {
    type Kind = ();

    fn start((): (), workers: usize) -> Result<Self, String> {
        rayon::ThreadPoolBuilder::new().num_threads(workers).build().map_err(text)
    }

    fn apply(&mut self) -> Result<(), String> {
        self.install(|| black_box(work(black_box(0))));
        Ok(())
    }

    fn map(&mut self, nanos: u64, count: u64, chunk: Option<u64>) -> Result<(), String> {
        let chunk = chunk.map(usize::try_from).transpose().map_err(text)?;
        let count = usize::try_from(count).map_err(text)?;
        let results = self.install(|| {
            // As everywhere, neither the inputs nor what becomes of the results is known.
            let all = (0..count).into_par_iter();
            let run = |_| black_box(work(black_box(nanos)));
            match chunk {
                Some(chunk) => {
                    all.with_min_len(chunk).with_max_len(chunk).map(run).collect::<Vec<_>>()
                }
                None => all.map(run).collect(),
            }
        });
        if results.len() == count { Ok(()) } else { Err("results are missing".to_owned()) }
    }
}
