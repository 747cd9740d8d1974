//! On what was measured.

use std::fs;
use std::io;
use std::thread::available_parallelism;

/// What of a process is in memory now, in KiB; `id` is its number, or `self`.
pub(crate) fn resident_kib(id: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
    kib.ok_or_else(|| io::Error::other("no VmRSS"))
}

/// The processor, its cores and the system, as far as the system tells.
pub fn line() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, name)| name);
    let cores = available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("unknown");
    format!("{model}, {cores} cores, Linux {}, load {load} at the start; loopback.", kernel.trim())
}
