//! What a device can see and do while it is called.

use ram::GuestRam;
use serde::{Deserialize, Serialize};

use crate::event::Moment;
use crate::{Event, Message, Observer};

/// Run time in nanoseconds: advances in S0 only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VirtualTime(pub u64);

impl VirtualTime {
    /// This much later, at most the end of time.
    #[must_use]
    pub fn after(self, nanoseconds: u64) -> Self {
        Self(self.0.saturating_add(nanoseconds))
    }

    /// Nanoseconds since then; 0 if it is yet to come.
    pub fn since(self, then: Self) -> u64 {
        self.0.saturating_sub(then.0)
    }
}

/// World time in nanoseconds since 1970-01-01 00:00 UTC: never stops, whatever the machine does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorldTime(pub u64);

/// A global system interrupt: an input of the IOAPIC. 0 to 15 are the ISA interrupts as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Gsi(pub u8);

/// Levels of all interrupt lines, as the devices drive them. Who routes them to the controllers takes what rose since it last looked:
/// a line that went up and down in between was an edge, which levels alone do not show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// Bit n is GSI n, set while the line is active, whatever its electrical polarity.
    pub active: u32,
    /// Lines that became active since the last look.
    pub risen: u32,
}

impl Lines {
    /// Drives a line.
    pub fn set(&mut self, gsi: Gsi, active: bool) {
        let bit = 1u32.checked_shl(u32::from(gsi.0)).unwrap_or(0);
        if active {
            self.risen |= bit & !self.active;
            self.active |= bit;
        } else {
            self.active &= !bit;
        }
    }

    /// A short pulse: an edge, after which the line is inactive.
    pub fn pulse(&mut self, gsi: Gsi) {
        self.set(gsi, false);
        self.set(gsi, true);
        self.set(gsi, false);
    }

    /// Whether a line is active.
    pub fn is_active(&self, gsi: Gsi) -> bool {
        self.active & 1u32.checked_shl(u32::from(gsi.0)).unwrap_or(0) != 0
    }

    /// The look: lines that became active since the last one.
    pub fn take_risen(&mut self) -> u32 {
        std::mem::take(&mut self.risen)
    }
}

/// What a device asks of the machine as a whole. It is done before the next guest instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PowerRequest {
    /// SLP_EN written with this SLP_TYP (PM1_CNT).
    Sleep {
        /// SLP_TYP, 0 to 7.
        slp_typ: u8,
    },
    /// The reset line: ports 0xCF9, 0x64, 0x92, or the ACPI reset register.
    Reset,
    /// A test guest ends with this status (isa-debug-exit).
    DebugExit {
        /// The byte written.
        status: u8,
    },
}

/// Of a call of a device.
pub struct Context<'a> {
    /// Run time.
    pub now: VirtualTime,
    /// World time, which the RTC shows.
    pub world: WorldTime,
    /// For DMA.
    pub ram: &'a GuestRam,
    /// Interrupt lines.
    pub lines: &'a mut Lines,
    /// Message-signalled interrupts sent in this call, in order.
    pub messages: &'a mut Vec<Message>,
    /// Set by a device that ends or changes how the machine runs.
    pub power: &'a mut Option<PowerRequest>,
    /// Instructions retired so far.
    pub instructions: u64,
    /// Whose access this is, if it is one.
    pub processor: Option<u32>,
    /// Sees events.
    pub observer: &'a mut dyn Observer,
    /// Set when a trigger matched.
    pub stop: &'a mut bool,
}

impl Context<'_> {
    /// Tells of an event. Returns whether a trigger matched: nothing more may happen in this call then.
    pub fn emit(&mut self, event: Event) -> bool {
        let at = Moment { time: self.now, instructions: self.instructions, processor: self.processor };
        let matched = self.observer.event(at, event);
        *self.stop |= matched;
        matched
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// What a controller that looks now and then is told: every line that rose, however short.
        #[test]
        fn no_edge_is_lost(steps in proptest::collection::vec((0u8..40, any::<bool>()), 0..40)) {
            let (mut lines, mut expected) = (Lines::default(), Lines::default());
            for (line, active) in steps {
                let bit = 1u64 << line;
                lines.set(Gsi(line), active);
                if active {
                    expected.risen |= bit as u32 & !expected.active;
                    expected.active |= bit as u32;
                } else {
                    expected.active &= !(bit as u32);
                }
                prop_assert_eq!(lines.is_active(Gsi(line)), active && line < 32);
            }
            prop_assert_eq!(lines, expected);
            prop_assert_eq!((lines.take_risen(), lines.take_risen()), (expected.risen, 0));
        }

        #[test]
        fn a_pulse_is_an_edge_whatever_the_level_was(before: bool) {
            let mut lines = Lines::default();
            lines.set(Gsi(3), before);
            lines.take_risen();
            lines.pulse(Gsi(3));
            prop_assert_eq!(lines, Lines { active: 0, risen: 1 << 3 });
        }
    }
}
