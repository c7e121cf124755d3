//! System registers of the processors, from the last time that user mode ran to the next.

use cpu::CpuState;

use super::{Check, Clause};

/// What is not compared.
const EXCLUSIONS: &str = "not compared: CR2, CR3, the time-stamp counter, counters of the local APIC, and whatever belongs to a task";

/// The registers of one processor that have to be the same, with their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemRegisters {
    registers: Vec<(String, u64)>,
    dr7: u64,
}

impl SystemRegisters {
    /// Of a processor.
    pub fn of(state: &CpuState) -> Self {
        let CpuState { gdtr, idtr, tr, cr0, cr4, xcr0, debug, msrs, apic, .. } = state;
        let fixed = [
            ("GDTR base", gdtr.base),
            ("GDTR limit", gdtr.limit.into()),
            ("IDTR base", idtr.base),
            ("IDTR limit", idtr.limit.into()),
            ("TR", tr.selector.into()),
            ("TR base", tr.base),
            ("TR limit", tr.limit.into()),
            ("CR0", cr0.bits()),
            ("CR4", cr4.bits()),
            ("EFER", msrs.efer.bits()),
            ("STAR", msrs.star),
            ("LSTAR", msrs.lstar),
            ("CSTAR", msrs.cstar),
            ("SFMASK", msrs.fmask),
            ("PAT", msrs.pat),
            ("MTRR default type", msrs.mtrr_def_type),
            ("XCR0", *xcr0),
            ("APIC base", apic.base()),
        ];
        let mut registers: Vec<(String, u64)> =
            fixed.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let numbered = msrs.mtrr_fixed.iter().enumerate();
        registers.extend(numbered.map(|(number, value)| (format!("fixed MTRR {number}"), *value)));
        for (number, (base, mask)) in msrs.mtrr_variable.iter().enumerate() {
            registers.push((format!("MTRR {number} base"), *base));
            registers.push((format!("MTRR {number} mask"), *mask));
        }
        Self { registers, dr7: debug[5] }
    }

    /// Registers that are not as they were: name, before, after.
    fn differences<'a>(&'a self, after: &'a Self) -> impl Iterator<Item = (&'a str, u64, u64)> {
        let pairs = self.registers.iter().zip(&after.registers);
        pairs.filter(|(was, is)| was != is).map(|(was, is)| (was.0.as_str(), was.1, is.1))
    }
}

/// Judges all processors of a machine. `after`: when each first entered user mode again; of one that did not, nothing.
pub fn compare(before: &[SystemRegisters], after: &[Option<SystemRegisters>], of: &str) -> [Check; 2] {
    let clauses = [Clause::SystemRegisters, Clause::DebugRegisters];
    let (mut wrong, mut debug, mut seen) = (Vec::new(), Vec::new(), 0);
    for (number, (before, after)) in before.iter().zip(after).enumerate() {
        let Some(after) = after else { continue };
        seen += 1;
        let line =
            |name: &str, was: u64, is: u64| format!("processor {number}: {name} was {was:#x} and is {is:#x}");
        wrong.extend(before.differences(after).map(|(name, was, is)| line(name, was, is)));
        if before.dr7 != after.dr7 {
            debug.push(line("DR7", before.dr7, after.dr7));
        }
    }
    if seen == 0 {
        let why = "no processor entered user mode again";
        return clauses.map(|clause| Check::not_observed(clause, of, why));
    }
    let counted = format!("compared: {seen} of {} processors, at SYSRET or IRET to user mode", before.len());
    let system = if wrong.is_empty() {
        let evidence = vec![counted, EXCLUSIONS.to_owned()];
        Check { evidence, ..Check::pass(Clause::SystemRegisters, of) }
    } else {
        wrong.extend([counted, EXCLUSIONS.to_owned()]);
        Check::fail(Clause::SystemRegisters, of, "register differs", wrong)
    };
    let debug = match debug.as_slice() {
        [] => Check {
            evidence: vec!["DR7; these processors have no S_CET".to_owned()],
            ..Check::pass(Clause::DebugRegisters, of)
        },
        _ => Check::note(Clause::DebugRegisters, of, debug),
    };
    [system, debug]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Status;

    #[test]
    fn a_register_that_differs_is_named_and_dr7_is_a_note() {
        let mut state = CpuState::reset();
        let before = SystemRegisters::of(&state);
        // What belongs to a task, to time or to a fault.
        (state.cr2, state.cr3, state.msrs.tsc_origin, state.msrs.kernel_gs_base) = (1, 0x2000, 3, 4);
        let same = SystemRegisters::of(&state);
        let judge = |after: Vec<Option<SystemRegisters>>| {
            compare(&vec![before.clone(); after.len()], &after, "")
                .map(|check| (check.status, check.evidence))
        };
        let [system, debug] = judge(vec![Some(same.clone())]);
        assert_eq!((system.0, debug.0), (Status::Pass, Status::Pass));
        state.msrs.pat = 7;
        state.debug[5] = 0x401;
        let [system, debug] = judge(vec![None, Some(SystemRegisters::of(&state))]);
        assert_eq!((system.0, debug.0), (Status::Fail, Status::Note));
        assert_eq!(system.1[0], "processor 1: PAT was 0x7040600070406 and is 0x7");
        assert_eq!(debug.1, ["processor 1: DR7 was 0x400 and is 0x401"]);
        assert_eq!(judge(vec![None]).map(|check| check.0), [Status::NotObserved; 2]);
    }
}
