//! What Linux tells about a process: CPU time and resident memory.

/// Ticks a second in `/proc/PID/stat`, the same on every Linux that this runs on.
const USER_HZ: f64 = 100.0;

/// CPU seconds, user and system, that a process has used so far; `None` where it is gone.
#[allow(clippy::disallowed_methods, reason = "no part of the store")]
pub fn cpu_seconds(process: &str) -> Option<f64> {
    cpu_of_stat(&std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

/// Resident bytes of a process; `None` where it is gone.
#[allow(clippy::disallowed_methods, reason = "no part of the store")]
pub fn resident_bytes(process: &str) -> Option<u64> {
    rss_of_status(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// Fields 14 and 15, counted after the name, which may hold spaces and parentheses.
fn cpu_of_stat(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / USER_HZ)
}

fn rss_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_linux_writes() {
        let stat = "12 (a ) b) S 1 12 12 0 -1 4194304 900 0 0 0 150 25 0 0 20 0 3 0 99 1 2";
        assert_eq!(cpu_of_stat(stat), Some(1.75));
        assert_eq!(rss_of_status("VmPeak:\t 9 kB\nVmRSS:\t   1024 kB\n"), Some(1_048_576));
        assert_eq!(cpu_of_stat("12 (a) S 1"), None);
        assert!(resident_bytes("self").is_some_and(|bytes| bytes > 100_000));
    }
}
