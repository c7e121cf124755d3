//! What each step of a scenario lets a witness see.

use agent_protocol::message::{AfterSnapshot, HibernateMode, Role};

use crate::checks::Clause;
use crate::language::{Step, Wake};

/// Whenever the kernel that slept is back.
const BACK: [Clause; 4] =
    [Clause::MonotonicStands, Clause::RealtimeGoesOn, Clause::SystemRegisters, Clause::DebugRegisters];

/// Clauses that something is to be said of when this step has come to its end, in a machine that this kernel had when it began.
pub fn expected(step: &Step, role: Role) -> Vec<Clause> {
    let mut clauses = match step {
        Step::JumpBack | Step::Restore => vec![Clause::MemoryAcrossJump, Clause::QuietMemoryInJump],
        Step::Resume | Step::SnapshotRestore => {
            vec![Clause::MemoryAcrossHibernation, Clause::QuietMemoryInRestore]
        }
        Step::Suspend { pm_test: None, wake, .. } => {
            let alarm = matches!(wake, Wake::Alarm { .. }).then_some(Clause::AlarmOnce).into_iter().collect();
            // Of the saver's sleep everything else is the saver's business.
            if role != Role::Primary {
                return alarm;
            }
            alarm
        }
        Step::Hibernate { mode, pm_test: None } => match mode {
            HibernateMode::Suspend => vec![Clause::QuietMemoryInSave, Clause::AlarmOnce],
            HibernateMode::TestResume => {
                vec![Clause::MemoryAcrossHibernation, Clause::QuietMemoryInSave, Clause::QuietMemoryInRestore]
            }
            _ => return vec![Clause::QuietMemoryInSave],
        },
        Step::Snapshot { then: AfterSnapshot::SuspendToRam } => vec![Clause::QuietMemoryInSave],
        Step::Snapshot { .. } => return vec![Clause::QuietMemoryInSave],
        _ => return Vec::new(),
    };
    clauses.extend(BACK);
    clauses
}
