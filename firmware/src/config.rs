//! What firmware has to know of the board.
//!
//! No field has a default: an address here that differs from the device's is a machine that does not boot.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::layout::PROCESSORS_MAX;

/// The board as firmware describes it to an operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Where memory is.
    pub memory: Memory,
    /// Width of the processors' physical addresses.
    pub physical_bits: u8,
    /// Processors, numbered from 0; the number of one is its APIC id and its ACPI processor UID.
    pub processors: u32,
    /// Sleep states offered.
    pub sleep: SleepStates,
    /// FACS hardware signature: an operating system that finds another one when it resumes from S4 refuses to.
    pub hardware_signature: u32,
    /// The date of the BIOS in SMBIOS. Linux derives quirks from its year. None: there is no SMBIOS, which Linux takes for year 0.
    pub bios_date: Option<Date>,
    /// ACPI fixed hardware.
    pub power: PowerBlock,
    /// Interrupt controllers.
    pub interrupts: Interrupts,
    /// The PCI host bridge.
    pub pci: Pci,
    /// The real-time clock.
    pub clock: RealTimeClock,
    /// The high precision event timer, if there is one.
    pub hpet: Option<Hpet>,
}

/// RAM and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Bytes of RAM, whole pages.
    pub ram: u64,
    /// The hole below 4 GiB: RAM ends at its start at the latest and goes on at its end.
    pub hole: Range<u64>,
    /// Bytes, whole pages, at the end of RAM below 4 GiB that the memory map calls reserved. Firmware that withholds another amount at
    /// the next boot is the classic reason why an image of S4 is refused.
    pub withheld: u64,
    /// Address of one more page of RAM, from 2 MiB on, that the memory map calls reserved. Firmware that puts it elsewhere at the next
    /// boot leaves the amount of memory as it was, and the image is refused all the same.
    pub reserved_page: Option<u64>,
    /// What the memory map calls the page of the FACS.
    pub facs: FacsRegion,
}

/// What the memory map calls the page that has the FACS in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FacsRegion {
    /// Reserved: nobody touches it but through ACPI.
    Reserved,
    /// ACPI NVS: Linux puts its old contents back after S4, and after S3 where the BIOS is older than 2012.
    Nvs,
}

/// The states that have a package in the DSDT, each with the SLP_TYP that the PM1 control register knows it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SleepStates {
    /// Working: what is written after a wake.
    pub s0: u8,
    /// Suspend to RAM, if there is.
    pub s3: Option<u8>,
    /// Hibernation by the platform, if there is.
    pub s4: Option<u8>,
    /// Off.
    pub s5: u8,
}

/// A date of the Gregorian calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Date {
    /// Year, all four digits.
    pub year: u16,
    /// Month, from 1.
    pub month: u8,
    /// Day of the month, from 1.
    pub day: u8,
}

/// ACPI fixed hardware (ACPI 6.5, 4.8): I/O ports and lengths in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PowerBlock {
    /// The GSI of the SCI; level, active high.
    pub sci: u8,
    /// PM1a event block, 4 bytes: status, then enable.
    pub event: u16,
    /// PM1a control block, 2 bytes.
    pub control: u16,
    /// PM timer, 4 bytes.
    pub timer: u16,
    /// Whether all 32 bits of it count, or 24.
    pub timer_is_32_bits: bool,
    /// General-purpose event block 0: status, then enable.
    pub gpe0: u16,
    /// Its length, both halves.
    pub gpe0_len: u8,
    /// The port that resets the machine.
    pub reset: u16,
    /// The value to write to it.
    pub reset_value: u8,
    /// All ports that the block decodes, kept off PCI.
    pub ports: Range<u16>,
}

/// Interrupt controllers and how they are wired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupts {
    /// Physical address of every local APIC.
    pub local_apic: u32,
    /// Physical address of the I/O APIC, whose first pin is GSI 0.
    pub io_apic: u32,
    /// Its id.
    pub io_apic_id: u8,
    /// The GSI that the ISA timer's IRQ 0 arrives at; edge, active high.
    pub timer_gsi: u32,
}

/// The PCI host bridge, bus 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pci {
    /// Physical address of memory-mapped configuration space.
    pub ecam: u64,
    /// Bytes reserved for it, a multiple of 1 MiB; only buses that exist answer.
    pub ecam_len: u64,
    /// Buses that exist, numbered from 0.
    pub buses: u8,
    /// Memory addresses that BARs may have.
    pub window: Range<u32>,
    /// Slots whose INTA is routed, numbered from 0.
    pub slots: u8,
    /// Slot `n`'s INTA is this GSI plus `n` modulo `intx_count`; level, active high.
    pub intx: u32,
    /// GSIs used for INTA.
    pub intx_count: u32,
}

/// The CMOS real-time clock (MC146818).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealTimeClock {
    /// Its index port; data is the next.
    pub ports: u16,
    /// Its ISA interrupt.
    pub irq: u8,
    /// CMOS index of the alarm's day of the month, 0 if there is none.
    pub day_alarm: u8,
    /// CMOS index of the alarm's month, 0 if there is none.
    pub month_alarm: u8,
    /// CMOS index of the century, 0 if there is none.
    pub century: u8,
}

/// The high precision event timer (IA-PC HPET 1.0a).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hpet {
    /// Physical address of its registers.
    pub address: u64,
    /// The low half of its capabilities register: vendor, timers, width, revision.
    pub id: u32,
    /// The least counts between two interrupts of a periodic timer that none is lost of.
    pub minimum_tick: u16,
}

impl Config {
    /// Refuses what no table can say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.processors == 0 || self.processors > PROCESSORS_MAX {
            return Err(ConfigError::Processors(self.processors));
        }
        match self.bios_date {
            Some(date) if !date.exists() => Err(ConfigError::Date(date)),
            _ => Ok(()),
        }
    }
}

impl Date {
    /// Whether the calendar has it, and four digits can say it.
    pub fn exists(self) -> bool {
        let Self { year, month, day } = self;
        year <= 9999 && (1..=12).contains(&month) && day >= 1 && day <= days(year, month)
    }
}

fn days(year: u16, month: u8) -> u8 {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Why a board cannot be described.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Too little RAM or too much, or not whole pages.
    #[error("{ram} bytes of RAM: a machine has whole pages of 4096 bytes, from {} MiB to {} GiB", .bounds.start >> 20, .bounds.end >> 30)]
    Ram {
        /// What was asked for.
        ram: u64,
        /// The least that firmware works with, and the most that has addresses.
        bounds: Range<u64>,
    },
    /// A hole that is none.
    #[error("the hole below 4 GiB from {:#x} to {:#x} is not made of whole pages between 1 MiB and 4 GiB", .0.start, .0.end)]
    Hole(Range<u64>),
    /// More withheld than there is.
    #[error("{withheld} bytes withheld from RAM: only whole pages, and {most} bytes at most, can be")]
    Withheld {
        /// What was asked for.
        withheld: u64,
        /// The most there is.
        most: u64,
    },
    /// A reserved page that is none.
    #[error("a reserved page at {address:#x}: only a page of usable RAM from {least:#x} on can be one")]
    ReservedPage {
        /// Where.
        address: u64,
        /// The first that can.
        least: u64,
    },
    /// No processor, or more than there are APIC ids.
    #[error("{0} processors: a machine has 1 to {most}", most = PROCESSORS_MAX)]
    Processors(u32),
    /// A date that no calendar has.
    #[error("{:04}-{:02}-{:02} is not a date", .0.year, .0.month, .0.day)]
    Date(Date),
    /// Too much of something for the place it has.
    #[error(
        "the {what} need {needed} bytes, and there is room for {room}: give the machine fewer processors or devices"
    )]
    Room {
        /// What is too big.
        what: &'static str,
        /// Bytes needed.
        needed: u64,
        /// Bytes there are.
        room: u64,
    },
    /// A PCI bridge that cannot be.
    #[error("PCI: {0}")]
    Pci(&'static str),
}
