//! O10: complaints in the kernel log.

/// A line of the kernel log that should not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Kind.
    pub class: &'static str,
    /// The line.
    pub line: String,
}

/// What a kernel says when something is wrong, and what that is called. The first that a line holds is its class.
const COMPLAINTS: [(&str, &str); 26] = [
    ("Kernel panic - not syncing", "panic"),
    ("kernel BUG at", "bug"),
    ("BUG: unable to handle", "oops"),
    ("BUG: kernel NULL pointer dereference", "oops"),
    ("Oops: ", "oops"),
    ("general protection fault", "oops"),
    ("invalid opcode: ", "oops"),
    ("double fault: ", "oops"),
    ("soft lockup", "soft lockup"),
    ("hard LOCKUP", "hard lockup"),
    ("self-detected stall", "rcu stall"),
    ("rcu: INFO: rcu_", "rcu stall"),
    ("blocked for more than", "hung task"),
    ("BUG: scheduling while atomic", "bug"),
    ("BUG: sleeping function called", "bug"),
    ("BUG: Bad page", "memory"),
    ("Bad rss-counter", "memory"),
    ("WARNING: ", "warning"),
    ("Marking clocksource 'tsc' as unstable", "clock"),
    ("Buffer I/O error", "disk error"),
    ("I/O error, dev ", "disk error"),
    ("EXT4-fs error", "file system"),
    ("EXT4-fs warning", "file system"),
    ("JBD2: recovery failed", "file system"),
    ("DMAR: ", "dma"),
    ("not responding to INIT", "processor lost"),
];

/// The complaints in a console, less those whose line holds one of the allowed texts.
pub fn complaints(console: &str, allowed: &[String]) -> Vec<Complaint> {
    console
        .lines()
        .filter_map(|line| {
            let (_, class) = COMPLAINTS.iter().find(|(text, _)| line.contains(text))?;
            let is_allowed = allowed.iter().any(|text| line.contains(text.as_str()));
            (!is_allowed).then(|| Complaint { class, line: line.trim().to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: &str = "\
[    0.365941] Write protecting the kernel read-only data: 8192k
[    1.000000] WARNING: CPU: 0 PID: 7 at kernel/time/timekeeping.c:1
[    1.000001] I/O error, dev vda, sector 12 op 0x1:(WRITE)
[    1.000002] Kernel panic - not syncing: Attempted to kill init!
";

    #[test]
    fn complaints_are_found_and_classified() {
        let found: Vec<&str> = complaints(CONSOLE, &[]).iter().map(|found| found.class).collect();
        assert_eq!(found, ["warning", "disk error", "panic"]);
    }

    #[test]
    fn what_a_scenario_allows_is_none_and_a_quiet_log_has_none() {
        let allowed = ["I/O error, dev vda".to_owned(), "timekeeping.c".to_owned()];
        let found = complaints(CONSOLE, &allowed);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].class, "panic");
        assert_eq!(complaints(CONSOLE.lines().next().unwrap(), &[]), []);
    }
}
