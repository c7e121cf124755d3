//! The local vector table (SDM 3A 11.5.1): what this processor's own sources of interrupts do.

use serde::{Deserialize, Serialize};

use crate::apic::DeliveryMode;

/// A source, in the order of the registers from 0x320 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The timer.
    Timer,
    /// The thermal sensor, which never gets hot.
    Thermal,
    /// Performance counters, of which there are none.
    Performance,
    /// The first pin; the INTR output of the 8259 pair is connected to it.
    Lint0,
    /// The second pin; the NMI button is connected to it.
    Lint1,
    /// An error of the APIC itself.
    Error,
}

impl Source {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Timer, Self::Thermal, Self::Performance, Self::Lint0, Self::Lint1, Self::Error];

    /// Bits that software can write.
    fn writable(self) -> u32 {
        match self {
            Self::Timer => 0x7_00ff,
            Self::Thermal | Self::Performance => 0x1_07ff,
            Self::Lint0 | Self::Lint1 => 0x1_a7ff,
            Self::Error => 0x1_00ff,
        }
    }
}

/// An entry: vector 7:0, delivery mode 10:8, remote IRR 14, level-triggered 15, mask 16, timer mode 18:17.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalVector(u32);

impl LocalVector {
    const REMOTE_IRR: u32 = 1 << 14;
    const LEVEL: u32 = 1 << 15;
    const MASKED: u32 = 1 << 16;

    /// After reset.
    pub const RESET: Self = Self(Self::MASKED);
    /// ExtINT, as firmware leaves LINT0 of the boot processor.
    pub const EXTINT: Self = Self(7 << 8);
    /// NMI, as firmware leaves LINT1.
    pub const NMI: Self = Self(4 << 8);

    /// The register.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// With what software writes. Masked while the APIC is disabled by software.
    #[must_use]
    pub fn written(self, source: Source, value: u32, enabled: bool) -> Self {
        let new = Self(value & source.writable() | self.0 & Self::REMOTE_IRR);
        let new = if new.0 & Self::LEVEL == 0 { Self(new.0 & !Self::REMOTE_IRR) } else { new };
        if enabled { new } else { new.masked() }
    }

    /// Whether a value has only bits that this source has; delivery status and remote IRR are ignored.
    pub fn is_valid(source: Source, value: u32) -> bool {
        value & !(source.writable() | 1 << 12 | Self::REMOTE_IRR) == 0
    }

    /// Masked.
    #[must_use]
    pub fn masked(self) -> Self {
        Self(self.0 | Self::MASKED)
    }

    /// Whether it is masked.
    pub fn is_masked(self) -> bool {
        self.0 & Self::MASKED != 0
    }

    /// Its vector.
    pub fn vector(self) -> u8 {
        self.0 as u8
    }

    /// What it does; Fixed for the timer and for errors, whose bits are 0.
    pub fn mode(self) -> DeliveryMode {
        DeliveryMode::from_bits(self.0 >> 8)
    }

    /// Whether the pin's level counts: of fixed interrupts only.
    pub fn is_level_triggered(self) -> bool {
        self.0 & Self::LEVEL != 0 && self.mode() == DeliveryMode::Fixed
    }

    /// A level-triggered interrupt was taken and has not ended.
    pub fn remote_irr(self) -> bool {
        self.0 & Self::REMOTE_IRR != 0
    }

    /// The same with another remote IRR.
    #[must_use]
    pub fn with_remote_irr(self, set: bool) -> Self {
        Self(self.0 & !Self::REMOTE_IRR | if set { Self::REMOTE_IRR } else { 0 })
    }
}
