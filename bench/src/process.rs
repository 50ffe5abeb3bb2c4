//! What the kernel says of a running process: CPU time and memory, its children included.

use std::path::Path;
use std::time::Duration;

/// Clock ticks a second of /proc (a constant of the Linux ABI).
const TICKS: u64 = 100;

/// CPU time of the processes so far, all their threads.
pub(crate) fn cpu(pids: &[u32]) -> Duration {
    pids.iter().map(|pid| Duration::from_nanos(scheduled_ns(*pid).unwrap_or(0)).max(ticks(*pid))).sum()
}

/// Resident memory of the processes, bytes.
pub(crate) fn memory(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok())
        .filter_map(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum::<u64>()
        * 1024
}

/// The processes that `pid` started, itself first (kamailio forks its workers).
pub(crate) fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(parent) = all.get(next).copied() {
        let tasks = std::fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        next += 1;
    }
    all
}

/// Nanoseconds on a processor by the scheduler's own account: finer than ticks, but without
/// threads that have ended.
fn scheduled_ns(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    Some(tasks.flatten().filter_map(|task| first_number(&task.path().join("schedstat"))).sum())
}

fn first_number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.split_whitespace().next()?.parse().ok()
}

/// utime + stime of /proc/PID/stat, threads that have ended included; 10 ms steps.
fn ticks(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let spent: u64 = after_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(spent * 1000 / TICKS)
}
