//! Bodies that attract each other, computed by several processes on one shared array.
//!
//! Each worker moves its share of the bodies; a barrier keeps all of them in the same step, so
//! nobody reads a position that somebody else is still writing. The total energy at the end shows
//! that no step was torn.
//!
//! ```sh
//! cargo run --release -p mpserverd-client --example n_body -- [BODIES] [STEPS] [WORKERS]
//! ```

use mpserverd_client as mp;
use std::time::{Duration, Instant};

/// Length of a step, seconds.
const STEP: f64 = 1e-4;
/// Keeps close encounters finite.
const SOFTENING: f64 = 1e-2;
/// A worker waits no longer than this for the others: one that died would otherwise hold all.
const PATIENCE: Duration = Duration::from_secs(30);

/// What all workers share: three coordinates a body, and its mass.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
struct Space {
    positions: mp::RawArray<f64>,
    velocities: mp::RawArray<f64>,
    masses: mp::RawArray<f64>,
}

type Vector = [f64; 3];

fn vectors(array: &mp::RawArray<f64>) -> Vec<Vector> {
    array.to_vec().chunks_exact(3).map(|xyz| [xyz[0], xyz[1], xyz[2]]).collect()
}

fn acceleration(at: usize, positions: &[Vector], masses: &[f64]) -> Vector {
    let mut sum = [0.0; 3];
    for (other, mass) in positions.iter().zip(masses) {
        let away: Vector = std::array::from_fn(|axis| other[axis] - positions[at][axis]);
        let square = away.iter().map(|x| x * x).sum::<f64>() + SOFTENING * SOFTENING;
        let factor = mass / (square * square.sqrt());
        (0..3).for_each(|axis| sum[axis] += factor * away[axis]);
    }
    sum
}

/// Moves the bodies from `first` up to `last` by so many steps.
#[mp::task]
fn simulate(
    space: Space,
    first: usize,
    last: usize,
    steps: usize,
    together: mp::Barrier,
) -> Result<(), mp::TaskError> {
    let masses = space.masses.to_vec();
    for _ in 0..steps {
        let positions = vectors(&space.positions);
        let pulls = (first..last).map(|at| acceleration(at, &positions, &masses));
        let pulls = pulls.collect::<Vec<_>>();
        together.wait(Some(PATIENCE))?; // everybody has read the positions
        for (body, pull) in (first..last).zip(pulls) {
            for axis in 0..3 {
                let at = 3 * body + axis;
                let velocity = space.velocities.get(at)? + pull[axis] * STEP;
                space.velocities.set(at, velocity)?;
                space.positions.set(at, positions[body][axis] + velocity * STEP)?;
            }
        }
        together.wait(Some(PATIENCE))?; // everybody has written them
    }
    Ok(())
}

/// Kinetic and potential energy of everything.
fn energy(space: &Space) -> f64 {
    let (positions, velocities) = (vectors(&space.positions), vectors(&space.velocities));
    let masses = space.masses.to_vec();
    let mut sum = 0.0;
    for (body, mass) in masses.iter().enumerate() {
        sum += 0.5 * mass * velocities[body].iter().map(|v| v * v).sum::<f64>();
        for other in body + 1..masses.len() {
            let square = (0..3).map(|x| (positions[body][x] - positions[other][x]).powi(2));
            let distance = (square.sum::<f64>() + SOFTENING * SOFTENING).sqrt();
            sum -= mass * masses[other] / distance;
        }
    }
    sum
}

/// Numbers between -1 and 1 that are the same in every run.
fn noise(mut seed: u64) -> impl FnMut() -> f64 {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn space(bodies: usize) -> Result<Space, mp::ShareError> {
    let mut next = noise(1);
    let positions = (0..3 * bodies).map(|_| next()).collect::<Vec<_>>();
    Ok(Space {
        positions: mp::RawArray::from_slice(&positions)?,
        velocities: mp::RawArray::zeroed(3 * bodies)?,
        masses: mp::RawArray::from_slice(&vec![1.0 / bodies as f64; bodies])?,
    })
}

fn number(at: usize, default: usize) -> usize {
    std::env::args().nth(at).and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let (bodies, steps) = (number(1, 256).max(1), number(2, 200));
    let workers = number(3, mp::available_cpus()).clamp(1, bodies);
    let space = space(bodies)?;
    let before = energy(&space);
    let together = mp::Barrier::new(workers, None)?;
    let ctx = mp::get_context(None);
    let start = Instant::now();
    let running = (0..workers)
        .map(|worker| {
            let (first, last) = (bodies * worker / workers, bodies * (worker + 1) / workers);
            let args = (space.clone(), first, last, steps, together.clone());
            ctx.process::<simulate>(args).name(format!("bodies-{first}-{last}")).start()
        })
        .collect::<Result<Vec<_>, _>>()?;
    for process in &running {
        process.result()??;
    }
    let after = energy(&space);
    println!("{bodies} bodies, {steps} steps, {workers} workers: {:.2?}", start.elapsed());
    println!("energy {before:.6} -> {after:.6} ({:+.4} %)", 100.0 * (after / before - 1.0));
    Ok(())
}
