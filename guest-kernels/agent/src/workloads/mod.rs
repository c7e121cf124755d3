//! Workloads: processes that do real work in A and notice when something of it is lost over a sleep or a jump.
//!
//! Each is this binary executed again as `workload <name> <directory> <kib> <seed>`; see [`child`] for what is said between
//! the agent and it. One file a workload; [`work`] is what they have in common.

mod child;
mod clock;
mod clocks;
mod differences;
mod ext4;
mod fpu;
mod memory;
mod pages;
mod pattern;
mod process;
mod processors;
mod swap;
mod threads;
mod timers;
mod tmpfs;
mod work;

use std::path::PathBuf;

use agent_protocol::message::{Failure, Workload, WorkloadReport};
use nix::errno::Errno;

use crate::failure::failure_with;
pub use child::run_child;
use process::Process;

/// Bytes of all reports together, as JSON: they must fit into one line beside its frame.
const BUDGET: usize = 1500;

/// The workloads that are running.
#[derive(Debug)]
pub struct Workloads {
    program: PathBuf,
    running: Vec<Process>,
}

impl Default for Workloads {
    fn default() -> Workloads {
        Workloads { program: "/proc/self/exe".into(), running: Vec::new() }
    }
}

impl Workloads {
    /// Starts workloads; returns when all are at work. If one cannot be started, none is.
    ///
    /// # Errors
    /// EEXIST for one that is running already, else what the workload says.
    pub fn start(&mut self, which: &[Workload], directory: &str, kib: u32, seed: u64) -> Result<(), Failure> {
        let mut started: Vec<Process> = Vec::new();
        for workload in which {
            if self.running.iter().chain(&started).any(|process| process.workload() == *workload) {
                return Err(failure_with(
                    Errno::EEXIST,
                    format!("workload {}: already running", workload.name()),
                ));
            }
            started.push(Process::start(&self.program, *workload, directory, kib, seed)?);
        }
        // All set up at the same time, and only then waited for.
        started.iter_mut().try_for_each(Process::wait_until_started)?;
        self.running.append(&mut started);
        Ok(())
    }

    /// Checks every running workload, all at the same time. One that died or does not answer says so in its report.
    ///
    /// # Errors
    /// None yet.
    pub fn check(&mut self) -> Result<Vec<WorkloadReport>, Failure> {
        self.running.iter_mut().for_each(Process::ask_for_check);
        let reports = self.running.iter_mut().map(Process::report).collect();
        Ok(within_budget(reports, BUDGET))
    }

    /// Checks a last time, then ends and reaps them.
    ///
    /// # Errors
    /// None yet.
    pub fn stop(&mut self) -> Result<Vec<WorkloadReport>, Failure> {
        let reports = self.check();
        self.running.clear();
        reports
    }
}

/// Leaves out differences until the reports fit: always the last of the workload that has most, and never its first.
fn within_budget(mut reports: Vec<WorkloadReport>, budget: usize) -> Vec<WorkloadReport> {
    let len = |reports: &[WorkloadReport]| serde_json::to_vec(reports).map_or(usize::MAX, |json| json.len());
    while len(&reports) > budget {
        let Some(longest) = reports.iter_mut().max_by_key(|report| report.differences.len()) else { break };
        if longest.differences.len() < 2 {
            break;
        }
        longest.differences.pop();
    }
    let mut longest = 128;
    while len(&reports) > budget && longest > 8 {
        for difference in reports.iter_mut().flat_map(|report| &mut report.differences) {
            *difference = difference.chars().take(longest).collect();
        }
        longest /= 2;
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts what refuses to be `swap` and is happy to be anything else.
    const SCRIPT: &str = r#"[ "$2" = swap ] && echo '{"refused":{"errno":12,"text":"no memory"}}' && exit 1
echo '"started"'
while read request; do
    echo "{\"report\":{\"check\":$((number += 1)),\"report\":{\"workload\":\"$2\",\"progress\":$number,\"differences\":[]}}}"
done
"#;

    #[test]
    fn all_are_started_checked_and_stopped_or_none_is_started() {
        let (_directory, program) = process::tests::program(SCRIPT);
        let mut workloads = Workloads { program, ..Workloads::default() };
        let mut start = |which: &[Workload]| workloads.start(which, "/", 4, 1);

        let refused = start(&[Workload::Memory, Workload::Swap]).unwrap_err();
        assert_eq!((refused.errno, refused.text.as_str()), (Some(12), "workload swap: no memory"));
        start(&[Workload::Memory, Workload::Timers]).unwrap();
        let twice = start(&[Workload::Timers]).unwrap_err();
        assert_eq!(twice.text, "workload timers: already running");

        let report = |workload, progress| WorkloadReport { workload, progress, differences: Vec::new() };
        let both = |progress| vec![report(Workload::Memory, progress), report(Workload::Timers, progress)];
        assert_eq!(workloads.check(), Ok(both(1)));
        assert_eq!(workloads.stop(), Ok(both(2)));
        assert_eq!(workloads.check(), Ok(Vec::new()));
    }

    #[test]
    fn reports_fit_whatever_was_found() {
        let differences = vec!["\"\\".repeat(80); 4];
        let reports: Vec<WorkloadReport> = Workload::ALL
            .into_iter()
            .map(|workload| WorkloadReport { workload, progress: u64::MAX, differences: differences.clone() })
            .collect();
        let reports = within_budget(reports, BUDGET);
        assert!(serde_json::to_vec(&reports).unwrap().len() <= BUDGET);
        assert!(reports.iter().all(|report| !report.differences.is_empty()));
    }

    #[test]
    fn reports_that_fit_are_left_alone() {
        let report = WorkloadReport {
            workload: Workload::Tmpfs,
            progress: 1,
            differences: vec!["x".repeat(160), "y".repeat(160), "z".repeat(160), "4 more".into()],
        };
        assert_eq!(within_budget(vec![report.clone()], BUDGET), [report]);
    }
}
