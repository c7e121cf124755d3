//! Memory that nobody but a processor writes to.

use std::collections::BTreeSet;
use std::ops::Range;

use ram::{ForeignWrite, PAGE_SIZE, Writer};

use super::shown;
use crate::checks::{Check, Clause};

/// Why devices are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// swsusp makes its snapshot.
    Save,
    /// swsusp enters an image.
    Restore,
    /// A kexec jump.
    Jump,
}

impl Away {
    /// Which clause watches it.
    pub fn clause(self) -> Clause {
        match self {
            Self::Save => Clause::QuietMemoryInSave,
            Self::Restore => Clause::QuietMemoryInRestore,
            Self::Jump => Clause::QuietMemoryInJump,
        }
    }
}

/// Judges what was written while devices were down. `usable`: RAM that A has. `swapped`: frames that held another kernel's memory.
pub fn foreign(
    away: Away,
    of: &str,
    writes: &[ForeignWrite],
    usable: &[Range<u64>],
    swapped: &BTreeSet<u64>,
) -> Check {
    let is_as = |frame: u64| {
        let page = frame * PAGE_SIZE;
        !swapped.contains(&frame) && usable.iter().any(|range| range.contains(&page))
    };
    let bad: Vec<&ForeignWrite> = writes.iter().filter(|write| is_as(write.frame)).collect();
    if bad.is_empty() {
        return Check::pass(away.clause(), of);
    }
    let line = |write: &&ForeignWrite| {
        let who = match write.writer {
            Writer::Device => "a device",
            Writer::Host => "the host",
        };
        format!("page {:#x} was written by {who}", write.frame * PAGE_SIZE)
    };
    let class = if bad.iter().any(|write| write.writer == Writer::Device) { "DMA" } else { "host write" };
    Check::fail(away.clause(), of, class, shown(bad.iter().map(line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Status;

    const USABLE: [Range<u64>; 2] = [0x1000..0x4000, 0x5000..0x7000];

    #[test]
    fn only_pages_of_a_count_and_none_that_were_swapped() {
        let write = |frame, writer| ForeignWrite { frame, writer };
        let writes = [write(0, Writer::Host), write(3, Writer::Device), write(7, Writer::Device)];
        let judge = |swapped: &[u64]| {
            let swapped = swapped.iter().copied().collect();
            foreign(Away::Jump, "", &writes, &USABLE, &swapped)
        };
        assert_eq!(judge(&[3]), Check::pass(Clause::QuietMemoryInJump, ""));
        let found = judge(&[]);
        assert_eq!((found.status, found.class.as_deref()), (Status::Fail, Some("DMA")));
        assert_eq!(found.evidence, ["page 0x3000 was written by a device"]);
        let host = foreign(Away::Save, "", &[write(5, Writer::Host)], &USABLE, &BTreeSet::new());
        assert_eq!((host.clause, host.class.as_deref()), (Clause::QuietMemoryInSave, Some("host write")));
    }
}
