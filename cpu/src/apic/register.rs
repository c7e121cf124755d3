//! The registers: where they are, and what reading and writing them does (SDM 3A tables 11-1 and 11-6).

use crate::apic::{
    ApicMode, DeliveryMode, Destination, LocalApic, LocalVector, Message, Moment, Source, TimerMode,
};

/// A register, by the name of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// Local APIC id.
    Id,
    /// Version.
    Version,
    /// Task priority.
    TaskPriority,
    /// Arbitration priority: not of this age; reads as 0.
    ArbitrationPriority,
    /// Processor priority.
    ProcessorPriority,
    /// End of interrupt.
    EndOfInterrupt,
    /// Remote read: not of this age; reads as 0.
    RemoteRead,
    /// Logical destination.
    LogicalDestination,
    /// Destination format.
    DestinationFormat,
    /// Spurious-interrupt vector, with the bit that enables the APIC.
    SpuriousInterrupt,
    /// In service: 32 vectors.
    InService(u8),
    /// Trigger mode.
    TriggerMode(u8),
    /// Requested.
    Requested(u8),
    /// Error status.
    ErrorStatus,
    /// Interrupt command.
    Command,
    /// Its upper half: xAPIC mode only.
    CommandHigh,
    /// Local vector table.
    Local(Source),
    /// Initial count of the timer.
    InitialCount,
    /// Current count.
    CurrentCount,
    /// Divide configuration.
    Divide,
    /// Self IPI: x2APIC mode only.
    SelfIpi,
}

impl Register {
    /// By its offset in the page divided by 16, which is its MSR's number from 0x800 on.
    pub fn at(index: u32) -> Option<Self> {
        Some(match index {
            0x02 => Self::Id,
            0x03 => Self::Version,
            0x08 => Self::TaskPriority,
            0x09 => Self::ArbitrationPriority,
            0x0a => Self::ProcessorPriority,
            0x0b => Self::EndOfInterrupt,
            0x0c => Self::RemoteRead,
            0x0d => Self::LogicalDestination,
            0x0e => Self::DestinationFormat,
            0x0f => Self::SpuriousInterrupt,
            0x10..=0x17 => Self::InService(index as u8 & 7),
            0x18..=0x1f => Self::TriggerMode(index as u8 & 7),
            0x20..=0x27 => Self::Requested(index as u8 & 7),
            0x28 => Self::ErrorStatus,
            0x30 => Self::Command,
            0x31 => Self::CommandHigh,
            0x32..=0x37 => Self::Local(*Source::ALL.get(index as usize - 0x32)?),
            0x38 => Self::InitialCount,
            0x39 => Self::CurrentCount,
            0x3e => Self::Divide,
            0x3f => Self::SelfIpi,
            _ => return None,
        })
    }

    /// Whether a mode has it.
    fn is_in(self, mode: ApicMode) -> bool {
        match mode {
            ApicMode::Disabled => false,
            ApicMode::XApic => self != Self::SelfIpi,
            ApicMode::X2Apic => !matches!(
                self,
                Self::ArbitrationPriority | Self::RemoteRead | Self::DestinationFormat | Self::CommandHigh
            ),
        }
    }
}

/// Bits of the error-status register.
pub(super) mod error {
    pub const SENT_ILLEGAL_VECTOR: u32 = 1 << 5;
    pub const RECEIVED_ILLEGAL_VECTOR: u32 = 1 << 6;
    pub const ILLEGAL_REGISTER: u32 = 1 << 7;
}

/// What a write asks of the rest of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Nothing.
    Nothing,
    /// To carry a message.
    Send(Message),
    /// To tell the IOAPIC that a level-triggered interrupt ended.
    EndOfInterrupt(u8),
    /// To ask for [`LocalApic::deadline`] again.
    Deadline,
}

/// There is no such register, or the value is wrong: #GP for an MSR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the local APIC has no such register or refuses the value")]
pub struct Rejected;

/// Version 0x14, six local vectors; the suppression of end-of-interrupt broadcasts is not offered.
const VERSION: u32 = 0x0005_0014;
/// Enable bit, focus bit and vector of the spurious-interrupt register.
const SPURIOUS: u32 = 0x3ff;
/// Bits of the command register that software can write, without the destination.
const COMMAND: u64 = 0xc_cfff;

impl LocalApic {
    /// Reads a register at this moment.
    ///
    /// # Errors
    /// The current mode has no such register, or it cannot be read.
    pub fn read(&mut self, index: u32, now: Moment) -> Result<u64, Rejected> {
        self.tick(now);
        let x2 = self.mode() == ApicMode::X2Apic;
        let register = self.find(index)?;
        Ok(match register {
            Register::Id => u64::from(if x2 { self.id } else { self.id << 24 }),
            Register::Version => u64::from(VERSION),
            Register::TaskPriority => u64::from(self.task_priority),
            Register::ArbitrationPriority | Register::RemoteRead => 0,
            Register::ProcessorPriority => u64::from(self.processor_priority()),
            Register::EndOfInterrupt | Register::SelfIpi if x2 => return Err(Rejected),
            Register::EndOfInterrupt | Register::SelfIpi => 0,
            Register::LogicalDestination => u64::from(if x2 { self.logical_x2() } else { self.logical }),
            Register::DestinationFormat => u64::from(self.format),
            Register::SpuriousInterrupt => u64::from(self.spurious),
            Register::InService(part) => u64::from(self.in_service.part(part)),
            Register::TriggerMode(part) => u64::from(self.level.part(part)),
            Register::Requested(part) => u64::from(self.requested.part(part)),
            Register::ErrorStatus => u64::from(self.errors),
            Register::Command if x2 => self.command,
            Register::Command => self.command & 0xffff_ffff,
            Register::CommandHigh => self.command >> 32,
            Register::Local(source) => u64::from(self.local[source as usize].bits()),
            Register::InitialCount => u64::from(self.timer.initial()),
            Register::CurrentCount => u64::from(self.timer.current(now.ns)),
            Register::Divide => u64::from(self.timer.divide()),
        })
    }

    /// Writes a register at this moment. In xAPIC mode `value` has 32 bits and its reserved bits are ignored.
    ///
    /// # Errors
    /// The current mode has no such register, it cannot be written, or in x2APIC mode reserved bits are set.
    pub fn write(&mut self, index: u32, value: u64, now: Moment) -> Result<Request, Rejected> {
        self.tick(now);
        let x2 = self.mode() == ApicMode::X2Apic;
        let register = self.find(index)?;
        if x2 && !is_valid_x2(register, value) {
            return Err(Rejected);
        }
        let low = value as u32;
        match register {
            Register::TaskPriority => self.task_priority = low as u8,
            Register::EndOfInterrupt => return Ok(self.end_of_interrupt()),
            Register::LogicalDestination => self.logical = low & 0xff00_0000,
            Register::DestinationFormat => self.format = low | 0x0fff_ffff,
            Register::SpuriousInterrupt => {
                self.spurious = low & SPURIOUS;
                if !self.is_enabled_by_software() {
                    self.local = self.local.map(LocalVector::masked);
                }
                return Ok(Request::Deadline);
            }
            Register::ErrorStatus => (self.errors, self.new_errors) = (self.new_errors, 0),
            Register::Command => {
                let destination = if x2 { value & !0xffff_ffff } else { self.command & !0xffff_ffff };
                self.command = destination | value & COMMAND;
                return Ok(self.send());
            }
            Register::CommandHigh => {
                self.command = self.command & 0xffff_ffff | u64::from(low & 0xff00_0000) << 32
            }
            Register::Local(source) => {
                self.set_local(source, low);
                return Ok(Request::Deadline);
            }
            Register::InitialCount => {
                if !matches!(self.timer_mode(), TimerMode::TscDeadline | TimerMode::Reserved) {
                    self.timer.start(low, now.ns);
                }
                return Ok(Request::Deadline);
            }
            Register::Divide => {
                self.timer.set_divide(low, now.ns);
                return Ok(Request::Deadline);
            }
            Register::SelfIpi => {
                if low as u8 >= 16 {
                    self.accept(low as u8, false);
                } else {
                    self.report(error::SENT_ILLEGAL_VECTOR);
                }
            }
            // Read-only. Old APICs could be given another id; this one keeps it.
            Register::Id
            | Register::Version
            | Register::ArbitrationPriority
            | Register::ProcessorPriority
            | Register::RemoteRead
            | Register::InService(_)
            | Register::TriggerMode(_)
            | Register::Requested(_)
            | Register::CurrentCount => {}
        }
        Ok(Request::Nothing)
    }

    fn find(&mut self, index: u32) -> Result<Register, Rejected> {
        let mode = self.mode();
        let found = Register::at(index).filter(|register| register.is_in(mode));
        if found.is_none() && mode == ApicMode::XApic {
            self.report(error::ILLEGAL_REGISTER);
        }
        found.ok_or(Rejected)
    }

    /// Notes an error and requests its interrupt.
    pub(super) fn report(&mut self, error: u32) {
        self.new_errors |= error;
        let local = self.local[Source::Error as usize];
        // A wrong vector here would be an error of the error: once is enough.
        if !local.is_masked() && local.vector() >= 16 {
            self.accept(local.vector(), false);
        }
    }

    fn set_local(&mut self, source: Source, value: u32) {
        let before = self.local[source as usize];
        let new = before.written(source, value, self.is_enabled_by_software());
        self.local[source as usize] = new;
        let deadline = |local: LocalVector| TimerMode::of(local.bits()) == TimerMode::TscDeadline;
        if source == Source::Timer && deadline(before) != deadline(new) {
            self.timer.stop();
        }
    }

    fn end_of_interrupt(&mut self) -> Request {
        let Some(vector) = self.in_service.highest() else { return Request::Nothing };
        self.in_service.remove(vector);
        if !self.level.contains(vector) {
            return Request::Nothing;
        }
        self.end_of_pin(vector);
        Request::EndOfInterrupt(vector)
    }

    /// Does what the command register says (SDM 3A 11.6.1).
    fn send(&mut self) -> Request {
        let low = self.command as u32;
        let (vector, mode) = (low as u8, DeliveryMode::from_bits(low >> 8));
        let logical = low & 1 << 11 != 0;
        let (asserted, level) = (low & 1 << 14 != 0, low & 1 << 15 != 0);
        if mode.has_vector() && vector < 16 {
            self.report(error::SENT_ILLEGAL_VECTOR);
            return Request::Nothing;
        }
        // The end of an INIT's level means nothing since the Pentium 4.
        let nothing = mode == DeliveryMode::Init && level && !asserted;
        if nothing || matches!(mode, DeliveryMode::Reserved | DeliveryMode::ExtInt) {
            return Request::Nothing;
        }
        let upper = (self.command >> 32) as u32;
        let destination = match low >> 18 & 3 {
            0 if self.mode() == ApicMode::X2Apic => Destination::of_32_bits(upper, logical),
            0 => Destination::of_8_bits((upper >> 24) as u8, logical),
            1 => {
                if mode == DeliveryMode::Fixed {
                    self.accept(vector, false);
                }
                return Request::Nothing;
            }
            2 => Destination::Everyone,
            _ => Destination::EveryoneBut(self.id),
        };
        Request::Send(Message { destination, mode, vector, level_triggered: false })
    }
}

/// Whether x2APIC mode accepts this value (SDM 3A 11.12.1).
fn is_valid_x2(register: Register, value: u64) -> bool {
    match register {
        Register::TaskPriority | Register::SelfIpi => value <= 0xff,
        Register::EndOfInterrupt | Register::ErrorStatus => value == 0,
        Register::SpuriousInterrupt => value & !u64::from(SPURIOUS) == 0,
        // Delivery status, bit 12, is ignored.
        Register::Command => value & 0xffff_ffff & !(COMMAND | 1 << 12) == 0,
        Register::Local(source) => {
            u32::try_from(value).is_ok_and(|value| LocalVector::is_valid(source, value))
        }
        Register::InitialCount => value <= 0xffff_ffff,
        Register::Divide => value & !0xb == 0,
        _ => false,
    }
}
