//! A program that an upgrade might be given: it likes every configuration, and reads no state that
//! was written by a later version than its own, which is 0.

use std::io::Read;

fn main() {
    let asked = std::env::args().nth(1).unwrap_or_default();
    match asked.as_str() {
        "--check" => {}
        "--check-state" => {
            let mut header = [0; 16];
            let read = std::io::stdin().read_exact(&mut header);
            let [.., v0, v1, v2, v3, _, _, _, _] = header;
            let version = u32::from_le_bytes([v0, v1, v2, v3]);
            match read {
                Ok(()) if version == 0 => {}
                Ok(()) => {
                    eprintln!(
                        "error: the state has version {version}, but this program reads version 0"
                    );
                    std::process::exit(111);
                }
                Err(error) => {
                    eprintln!("error: no state: {error}");
                    std::process::exit(111);
                }
            }
        }
        other => {
            eprintln!("error: {other} is not asked of a new program");
            std::process::exit(100);
        }
    }
}
