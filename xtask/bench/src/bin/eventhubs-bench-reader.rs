//! One reader in one process; `cargo xtask bench receive` starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    eventhubs_bench::reader::main(|| None)
}
