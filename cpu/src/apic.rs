//! The local APIC (SDM 3A chapter 11): xAPIC and x2APIC, as plain data.
//!
//! A write to a register says by a [`Request`] what it asks of the rest of the machine; nothing here knows a bus. The timer's count
//! is computed when it is read, and [`LocalApic::deadline`] says when it wants to be called.

mod access;
mod local_vector;
mod message;
mod pins;
mod register;
mod timer;
mod vectors;

use serde::{Deserialize, Serialize};

pub use local_vector::{LocalVector, Source};
pub use message::{DeliveryMode, Destination, Message, deliver};
pub use register::{Register, Rejected, Request};
pub use timer::{Moment, Timer, TimerMode};
pub use vectors::VectorSet;

/// Where the registers are after reset.
pub const DEFAULT_BASE: u64 = 0xfee0_0000;

/// Bits of IA32_APIC_BASE.
mod base {
    pub const BOOT_PROCESSOR: u64 = 1 << 8;
    pub const X2APIC: u64 = 1 << 10;
    pub const ENABLED: u64 = 1 << 11;
    pub const ADDRESS: u64 = ((1 << crate::memory::PHYSICAL_BITS) - 1) & !0xfff;
}

/// How software reaches the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicMode {
    /// Not at all, and no message arrives.
    Disabled,
    /// In memory, ids of 8 bits.
    XApic,
    /// As MSRs, ids of 32 bits.
    X2Apic,
}

/// A local APIC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalApic {
    /// Its id, of which xAPIC mode shows 8 bits.
    id: u32,
    /// IA32_APIC_BASE.
    base: u64,
    task_priority: u8,
    /// Bits 31:24 in xAPIC mode; computed from the id in x2APIC mode.
    logical: u32,
    /// Bits 31:28; the rest reads as ones.
    format: u32,
    spurious: u32,
    /// As software reads it, and what happened since it last wrote it.
    errors: u32,
    new_errors: u32,
    command: u64,
    local: [LocalVector; 6],
    /// Requested.
    requested: VectorSet,
    /// In service.
    in_service: VectorSet,
    /// Those requested last by a level-triggered message.
    level: VectorSet,
    timer: Timer,
    /// The 8259 pair drives its INTR output, which is connected to LINT0. See [`crate::CpuState::set_intr`].
    pub extint: bool,
    /// An ExtINT message waits to be acknowledged.
    extint_message: bool,
}

impl LocalApic {
    /// After power-on or RESET: in xAPIC mode, disabled by software.
    pub fn new(id: u32, is_boot_processor: bool) -> Self {
        let boot = if is_boot_processor { base::BOOT_PROCESSOR } else { 0 };
        Self {
            id,
            base: DEFAULT_BASE | base::ENABLED | boot,
            task_priority: 0,
            logical: 0,
            format: u32::MAX,
            spurious: 0xff,
            errors: 0,
            new_errors: 0,
            command: 0,
            local: [LocalVector::RESET; 6],
            requested: VectorSet::default(),
            in_service: VectorSet::default(),
            level: VectorSet::default(),
            timer: Timer::default(),
            extint: false,
            extint_message: false,
        }
    }

    /// After INIT: as after reset, but the mode, the address and the pin are what they were (SDM 3A 11.4.7.3).
    pub fn init(&mut self) {
        let (base, extint) = (self.base, self.extint);
        *self = Self { base, extint, ..Self::new(self.id, false) };
    }

    /// Virtual wire mode: enabled by software, interrupts of the 8259 pair come through LINT0, NMIs through LINT1. So does firmware
    /// leave the boot processor (MultiProcessor Specification 1.4, 3.6.2.2).
    pub fn set_virtual_wire(&mut self) {
        self.spurious = 0x1ff;
        self.local[Source::Lint0 as usize] = LocalVector::EXTINT;
        self.local[Source::Lint1 as usize] = LocalVector::NMI;
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Whether this is the processor that ran first after reset.
    pub fn is_boot_processor(&self) -> bool {
        self.base & base::BOOT_PROCESSOR != 0
    }

    /// How software reaches the registers.
    pub fn mode(&self) -> ApicMode {
        match (self.base & base::ENABLED != 0, self.base & base::X2APIC != 0) {
            (false, _) => ApicMode::Disabled,
            (true, false) => ApicMode::XApic,
            (true, true) => ApicMode::X2Apic,
        }
    }

    /// Writes IA32_APIC_BASE. From x2APIC mode the only way is off, and into it the only way is from xAPIC mode (SDM 3A figure
    /// 11-27). Which processor is the boot processor does not change.
    ///
    /// # Errors
    /// Reserved bits, or a change that is none of these.
    pub fn set_base(&mut self, value: u64) -> Result<(), Rejected> {
        let known = base::BOOT_PROCESSOR | base::X2APIC | base::ENABLED | base::ADDRESS;
        let before = self.mode();
        let new =
            Self { base: value & !base::BOOT_PROCESSOR | self.base & base::BOOT_PROCESSOR, ..self.clone() };
        let bare = value & (base::X2APIC | base::ENABLED) == base::X2APIC;
        let allowed = match (before, new.mode()) {
            (ApicMode::Disabled, ApicMode::X2Apic) | (ApicMode::X2Apic, ApicMode::XApic) => false,
            _ => !bare && value & !known == 0,
        };
        if !allowed {
            return Err(Rejected);
        }
        *self = new;
        match (before, self.mode()) {
            (ApicMode::XApic | ApicMode::X2Apic, ApicMode::Disabled) => self.init(),
            (ApicMode::XApic, ApicMode::X2Apic) => self.command &= 0xffff_ffff,
            _ => {}
        }
        Ok(())
    }

    /// Physical page of the registers, in xAPIC mode.
    pub fn page(&self) -> Option<u64> {
        (self.mode() == ApicMode::XApic).then_some(self.base & base::ADDRESS)
    }

    /// Whether fixed interrupts are taken: enabled by IA32_APIC_BASE and by the spurious-interrupt register.
    pub fn takes_interrupts(&self) -> bool {
        self.mode() != ApicMode::Disabled && self.is_enabled_by_software()
    }

    fn is_enabled_by_software(&self) -> bool {
        self.spurious & 1 << 8 != 0
    }

    /// Whether a message is for this one.
    pub fn is_named(&self, destination: Destination) -> bool {
        let x2 = match self.mode() {
            ApicMode::Disabled => return false,
            ApicMode::XApic => false,
            ApicMode::X2Apic => true,
        };
        match destination {
            Destination::Everyone => true,
            Destination::EveryoneBut(id) => id != self.id,
            Destination::Physical(id) => id == if x2 { self.id } else { self.id & 0xff },
            Destination::Logical(set) if x2 => {
                let own = self.logical_x2();
                own >> 16 == set >> 16 && own & set & 0xffff != 0
            }
            Destination::Logical(set) => {
                let own = self.logical >> 24;
                let flat = self.format >> 28 == 0xf;
                if flat { own & set != 0 } else { own >> 4 == set >> 4 && own & set & 0xf != 0 }
            }
        }
    }

    /// Logical id in x2APIC mode: cluster and a bit (SDM 3A 11.12.10.2).
    fn logical_x2(&self) -> u32 {
        self.id >> 4 << 16 | 1 << (self.id & 15)
    }

    /// Requests a fixed interrupt; whether it was taken. Vectors below 16 are errors.
    pub fn accept(&mut self, vector: u8, level_triggered: bool) -> bool {
        if !self.takes_interrupts() {
            return false;
        }
        if vector < 16 {
            self.report(register::error::RECEIVED_ILLEGAL_VECTOR);
            return false;
        }
        self.requested.insert(vector);
        self.level.set(vector, level_triggered);
        true
    }

    /// The class of interrupts that are held back, and more in the low bits (SDM 3A 11.8.3.1).
    pub fn processor_priority(&self) -> u8 {
        let serving = self.in_service.highest().unwrap_or(0);
        if self.task_priority >> 4 >= serving >> 4 { self.task_priority } else { serving & 0xf0 }
    }

    /// Task priority, of which CR8 is the upper half.
    pub fn task_priority(&self) -> u8 {
        self.task_priority
    }

    /// Writes it.
    pub fn set_task_priority(&mut self, priority: u8) {
        self.task_priority = priority;
    }

    /// The interrupt that the processor would take now if RFLAGS.IF allows: the highest requested, if its class is above the processor
    /// priority's.
    pub fn pending_vector(&self) -> Option<u8> {
        if self.mode() == ApicMode::Disabled {
            return None;
        }
        self.requested.highest().filter(|vector| vector >> 4 > self.processor_priority() >> 4)
    }

    /// Whether a maskable interrupt waits, of this APIC or of the 8259 pair.
    pub fn is_interrupt_pending(&self) -> bool {
        self.external_pending() || self.pending_vector().is_some()
    }

    /// The processor takes [`LocalApic::pending_vector`].
    pub fn acknowledge(&mut self) -> Option<u8> {
        let vector = self.pending_vector()?;
        self.requested.remove(vector);
        self.in_service.insert(vector);
        Some(vector)
    }

    /// When the timer wants to raise its interrupt, in nanoseconds of virtual run time. None while nobody would notice.
    pub fn deadline(&self, now: Moment) -> Option<u64> {
        let local = self.local[Source::Timer as usize];
        let heard = self.takes_interrupts() && !local.is_masked();
        if heard { self.timer.expires(TimerMode::of(local.bits()), now) } else { None }
    }

    /// Lets the timer catch up.
    pub fn tick(&mut self, now: Moment) {
        let local = self.local[Source::Timer as usize];
        if self.timer.tick(TimerMode::of(local.bits()), now) && !local.is_masked() {
            self.accept(local.vector(), false);
        }
    }

    /// IA32_TSC_DEADLINE: 0 unless the timer is in that mode.
    pub fn tsc_deadline(&self) -> u64 {
        if self.timer_mode() == TimerMode::TscDeadline { self.timer.deadline() } else { 0 }
    }

    /// Writes it; ignored in another mode (SDM 3A 11.5.4.1).
    pub fn set_tsc_deadline(&mut self, tsc: u64) {
        if self.timer_mode() == TimerMode::TscDeadline {
            self.timer.arm(tsc);
        }
    }

    fn timer_mode(&self) -> TimerMode {
        TimerMode::of(self.local[Source::Timer as usize].bits())
    }
}

#[cfg(test)]
mod tests;
