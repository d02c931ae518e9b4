//! A C library that crashes, hangs and corrupts its memory, used without fear.
//!
//! Each call runs in a worker of a pool. An input that kills its worker costs itself only; a crash
//! that came from what earlier inputs left behind is tried again in a fresh worker; a hang ends at
//! its deadline. The library is `fragile.c`, which this program compiles first (it needs `cc`).
//!
//! ```sh
//! cargo run --release -p mpserverd-client --example fragile_library
//! ```

use libloading::{Library, Symbol};
use mpserverd_client as mp;
use mpserverd_client::TaskFailure;
use std::ffi::{CString, c_char, c_long};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

static LIBRARY: OnceLock<Library> = OnceLock::new();

/// Opens the library, once in each worker and never in the main process.
#[mp::task]
fn open(path: &Path) -> Result<(), mp::TaskError> {
    // SAFETY: the library has no initialiser that could do anything.
    let library = unsafe { Library::new(path) }?;
    LIBRARY.get_or_init(|| library);
    Ok(())
}

/// What the library says about a text.
#[mp::task]
fn sum(text: &str) -> Result<i64, mp::TaskError> {
    let library = LIBRARY.get().ok_or_else(|| mp::TaskError::new("the library is not open"))?;
    let text = CString::new(text)?;
    // SAFETY: this is the function's type, as `fragile.c` has it. That it may do anything with
    // the memory of this process is why this process does nothing else.
    let sum = unsafe {
        let function: Symbol<'_, unsafe extern "C" fn(*const c_char) -> c_long> =
            library.get(b"fragile_sum")?;
        function(text.as_ptr())
    };
    Ok(sum)
}

/// Compiles `fragile.c` into a folder.
#[allow(clippy::disallowed_methods, reason = "a compiler is a program")]
fn compile(folder: &Path) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let source = folder.join("fragile.c");
    std::fs::write(&source, include_str!("fragile.c"))?;
    let library = folder.join("libfragile.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = std::process::Command::new(compiler)
        .args(["-O1", "-w", "-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .status()?;
    if !status.success() {
        return Err("the library does not compile".into());
    }
    Ok(library)
}

fn inputs() -> Vec<String> {
    let mut inputs = (0..300).map(|n| format!("{n}, {}, 1", n + 1)).collect::<Vec<_>>();
    inputs[10] = "1, 2, 123456789012345678901234567890".to_owned(); // writes to nowhere
    inputs[200] = "five, 6".to_owned(); // waits for ever
    inputs
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    mp::freeze_support();
    let folder = std::env::temp_dir().join(format!("fragile-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let library = compile(&folder)?;
    let pool = mp::get_context(None)
        .pool()
        .initializer::<open>((library,))
        .task_deadline(Duration::from_secs(1))
        .retries(1)
        .build()?;

    let inputs = inputs();
    let (mut good, mut bad) = (0, 0);
    for (text, outcome) in inputs.iter().zip(pool.map_each::<sum>(&inputs)?) {
        match outcome {
            Ok(Ok(_)) => good += 1,
            Ok(Err(error)) => println!("{text}: {error}"),
            Err(failure @ (TaskFailure::WorkerLost { .. } | TaskFailure::DeadlineExceeded(_))) => {
                bad += 1;
                println!("{text}: {failure}");
            }
            Err(other) => return Err(other.into()),
        }
    }
    println!("{good} of {} texts have a sum, {bad} were given up", inputs.len());
    pool.close();
    pool.join()?;
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}
