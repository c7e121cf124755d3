//! What can be delivered, and what a second exception makes of it.

use crate::fault::{Fault, vector};

/// Where an event comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A fault: the instruction runs again after it.
    Fault,
    /// A trap: the instruction is done.
    Trap,
    /// INT n, INT3, INTO: the gate must admit the privilege level.
    Software,
    /// INT1: whatever the gate says.
    Icebp,
    /// An interrupt or NMI.
    External,
}

/// Something that goes through the interrupt table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its entry.
    pub vector: u8,
    /// Pushed last.
    pub error: Option<u32>,
    /// For CR2 (#PF) or DR6 (#DB).
    pub address: u64,
    source: Source,
}

/// What follows if delivery fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Second {
    /// Another event in its place.
    Deliver(Event),
    /// A fault after a double fault.
    Shutdown,
}

/// Classes of exceptions (SDM 3A, table 6-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

impl Event {
    /// The non-maskable interrupt.
    pub const NMI: Self = Self::new(vector::NMI, Source::External);

    const fn new(vector: u8, source: Source) -> Self {
        Self { vector, error: None, address: 0, source }
    }

    /// A maskable interrupt.
    pub const fn interrupt(vector: u8) -> Self {
        Self::new(vector, Source::External)
    }

    /// INT n, INT3 or INTO.
    pub const fn software(vector: u8) -> Self {
        Self::new(vector, Source::Software)
    }

    /// INT1.
    pub const ICEBP: Self = Self::new(vector::DB, Source::Icebp);

    /// An exception of an instruction.
    pub const fn fault(fault: Fault) -> Self {
        Self { vector: fault.vector, error: fault.error, address: fault.address, source: Source::Fault }
    }

    /// A debug exception after an instruction, with these bits for DR6.
    pub const fn debug_trap(dr6: u64) -> Self {
        Self { address: dr6, ..Self::new(vector::DB, Source::Trap) }
    }

    /// Whether the processor found it, and CR2 or DR6 tells about it.
    pub fn is_exception(self) -> bool {
        matches!(self.source, Source::Fault | Source::Trap)
    }

    /// Whether the gate's DPL counts.
    pub fn is_software(self) -> bool {
        self.source == Source::Software
    }

    /// Whether an exception on the way has EXT set in its error code (SDM 3A 6.13).
    pub fn is_external(self) -> bool {
        self.source != Source::Software
    }

    /// Whether RF is set in the flags pushed (SDM 3B 17.3.1.1).
    pub fn sets_rf(self) -> bool {
        self.source == Source::Fault
    }

    fn class(self) -> Class {
        match self.vector {
            _ if !self.is_exception() => Class::Benign,
            vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
            vector::PF => Class::PageFault,
            vector::DF => Class::DoubleFault,
            _ => Class::Benign,
        }
    }

    /// What happens if this fault comes up while the event is delivered (SDM 3A, table 6-5).
    pub fn followed_by(self, fault: Fault) -> Second {
        let next = Self::fault(fault);
        let double = Second::Deliver(Self::fault(Fault::coded(vector::DF, 0)));
        match (self.class(), next.class()) {
            (Class::DoubleFault, _) => Second::Shutdown,
            (Class::Contributory, Class::Contributory)
            | (Class::PageFault, Class::Contributory | Class::PageFault) => double,
            // A benign exception that raises itself would do so for ever (#AC at a misaligned stack of level 3), and hardware
            // hangs; this one must not.
            (Class::Benign, Class::Benign) if self.is_exception() && self.vector == next.vector => double,
            _ => Second::Deliver(next),
        }
    }
}

impl Fault {
    /// With EXT set in its error code, if that has such a bit.
    pub(super) fn during_delivery(self) -> Self {
        match self.vector {
            vector::TS | vector::NP | vector::SS | vector::GP => {
                Self { error: self.error.map(|error| error | 1), ..self }
            }
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(first: Event, fault: Fault) -> Option<u8> {
        match first.followed_by(fault) {
            Second::Deliver(event) => Some(event.vector),
            Second::Shutdown => None,
        }
    }

    #[test]
    fn second_exceptions_by_class() {
        let pf = Fault { vector: vector::PF, error: Some(2), address: 0x1000 };
        let (ud, gp, df) =
            (Event::fault(Fault::UD), Event::fault(Fault::GP0), Event::fault(Fault::coded(8, 0)));
        assert_eq!(second(ud, Fault::GP0), Some(vector::GP));
        assert_eq!(second(ud, pf), Some(vector::PF));
        assert_eq!(second(gp, Fault::coded(vector::NP, 8)), Some(vector::DF));
        assert_eq!(second(gp, pf), Some(vector::PF));
        assert_eq!(second(Event::fault(pf), pf), Some(vector::DF));
        assert_eq!(second(Event::fault(pf), Fault::GP0), Some(vector::DF));
        assert_eq!(second(df, Fault::GP0), None);
        assert_eq!(second(df, pf), None);
        // Vector 13 as an interrupt is no general protection.
        assert_eq!(second(Event::interrupt(vector::GP), Fault::GP0), Some(vector::GP));
        assert_eq!(second(Event::software(vector::PF), pf), Some(vector::PF));
    }

    #[test]
    fn what_raises_itself_ends() {
        let mut event = Event::fault(Fault::coded(vector::AC, 0));
        for _ in 0..4 {
            match event.followed_by(Fault::coded(vector::AC, 0)) {
                Second::Deliver(next) => event = next,
                Second::Shutdown => return,
            }
        }
        panic!("still going: {event:?}");
    }

    #[test]
    fn ext_is_part_of_selector_error_codes_only() {
        assert_eq!(Fault::selector(vector::NP, 0x2b).during_delivery().error, Some(0x29));
        assert_eq!(Fault::coded(vector::PF, 2).during_delivery().error, Some(2));
        assert_eq!(Fault::UD.during_delivery().error, None);
    }
}
