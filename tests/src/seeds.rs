//! Rounds of random moments that a seed repeats.
//!
//! `FAULT_SEED=n` repeats one round; `FAULT_ROUNDS=n` makes every such test longer or shorter.

/// A generator of moments (xorshift): the same seed gives the same rounds.
#[derive(Clone, Debug)]
pub struct Moments(u64);

impl Moments {
    /// Those of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ (seed + 1).wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// The next number below a limit, which must not be 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// How many rounds a long test runs: `FAULT_ROUNDS`, or so many.
#[must_use]
pub fn count(default: u64) -> u64 {
    number("FAULT_ROUNDS").unwrap_or(default)
}

/// The seed of a long test: `FAULT_SEED`, or one of this moment. It is printed.
#[must_use]
pub fn any() -> u64 {
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |now| now.as_nanos() as u64);
    let seed = number("FAULT_SEED").unwrap_or(now % 1_000_000);
    println!("seed {seed}: FAULT_SEED={seed} repeats it");
    seed
}

/// Rounds with a seed each, which is printed: so many, unless the environment says otherwise.
pub fn rounds(default: u64) -> impl Iterator<Item = (u64, Moments)> {
    let seeds = match number("FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..count(default),
    };
    seeds.map(|seed| {
        println!("seed {seed}");
        (seed, Moments::of(seed))
    })
}
