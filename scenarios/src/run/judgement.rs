//! What something that went wrong becomes: a check that fails, or our own fault.

use vmm::{Autopsy, Stop};

use super::Runner;
use crate::checks::{self, Check, Clause};
use crate::guest::GuestError;
use crate::lab::Trouble;

/// Lines of the console that a failure shows.
const CONSOLE_LINES: usize = 40;

impl Runner<'_, '_> {
    /// Something went wrong: which check says so.
    pub(super) fn failed(&mut self, what: &str, trouble: &Trouble) {
        let mut evidence = vec![format!("{what}: {trouble}")];
        let (clause, class) = match trouble {
            Trouble::Workloads(reports) => {
                for report in reports {
                    let name = report.workload.name();
                    let found = report.differences.iter().map(|text| format!("{name}: {text}"));
                    evidence.extend(found);
                    if report.differences.is_empty() {
                        evidence.push(format!("{name}: stands still at {}", report.progress));
                    }
                }
                let still = reports.iter().all(|report| report.differences.is_empty());
                (if still { Clause::WorkloadsGoOn } else { Clause::WorkloadsClean }, "workload".to_owned())
            }
            Trouble::NotRefused(_) => (Clause::Refused, "not refused".to_owned()),
            Trouble::Unsaid { .. } => (Clause::StepsEnd, "without a word".to_owned()),
            Trouble::Guest(GuestError::CameBack) => (Clause::StepsEnd, "did not go away".to_owned()),
            Trouble::Guest(GuestError::Refused(_)) => (Clause::StepsEnd, "refused".to_owned()),
            Trouble::Guest(GuestError::Stopped(stop)) => (Clause::GoesOn, stopped(*stop).to_owned()),
            Trouble::Guest(GuestError::Silent { .. }) => (Clause::GoesOn, "virtual-time limit".to_owned()),
            Trouble::Wake(_) => (Clause::GoesOn, "no wake".to_owned()),
            _ => (Clause::StepsEnd, "unexpected".to_owned()),
        };
        if let Trouble::Guest(GuestError::Stopped(Stop::Missing { processor, what })) = trouble {
            let text = format!("processor {processor} met what it does not emulate: {what:?}");
            self.report.broken.get_or_insert(text);
        }
        let console = self.lab.guest.tape.console();
        let class = match checks::complaints(&console, &self.scenario.allow).last() {
            Some(complaint) if complaint.class == "panic" || complaint.class == "oops" => {
                evidence.insert(0, complaint.line.clone());
                complaint.class.to_owned()
            }
            _ => class,
        };
        evidence.push(Autopsy::of(&self.lab.guest.machine).to_string());
        let lines: Vec<&str> = console.lines().collect();
        evidence.push(lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n"));
        self.report.checks.push(Check::fail(
            clause,
            format!("cycle {}, {what}", self.cycle),
            class,
            evidence,
        ));
    }
}

fn stopped(stop: Stop) -> &'static str {
    match stop {
        Stop::Idle => "idle with nothing pending",
        Stop::TripleFault { .. } => "triple fault",
        Stop::Power(_) => "the machine went away",
        Stop::Missing { .. } => "not emulated",
        Stop::Instructions | Stop::Time | Stop::Triggered => "stopped",
        _ => "stopped",
    }
}
