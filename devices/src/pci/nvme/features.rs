//! Get and Set Features (5.14, 5.21).

use serde::{Deserialize, Serialize};

use super::command::Command;
use super::identify::POWER_STATES;
use super::status::Status;

/// Identifiers.
mod id {
    pub const ARBITRATION: u8 = 0x01;
    pub const POWER_MANAGEMENT: u8 = 0x02;
    pub const TEMPERATURE_THRESHOLD: u8 = 0x04;
    pub const ERROR_RECOVERY: u8 = 0x05;
    pub const WRITE_CACHE: u8 = 0x06;
    pub const QUEUES: u8 = 0x07;
    pub const INTERRUPT_COALESCING: u8 = 0x08;
    pub const INTERRUPT_VECTOR: u8 = 0x09;
    pub const WRITE_ATOMICITY: u8 = 0x0a;
    pub const EVENTS: u8 = 0x0b;
}

/// Kelvin.
pub(super) const WARNING_TEMPERATURE: u16 = 343;

/// Values that differ from controller to controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Features {
    arbitration: u32,
    pub power_state: u8,
    temperature_threshold: u16,
    error_recovery: u32,
    pub write_cache: bool,
    interrupt_coalescing: u32,
    write_atomicity: u32,
    /// Kinds of events that are reported.
    pub events: u32,
}

impl Default for Features {
    fn default() -> Self {
        Self {
            arbitration: 0,
            power_state: 0,
            temperature_threshold: WARNING_TEMPERATURE,
            error_recovery: 0,
            write_cache: true,
            interrupt_coalescing: 0,
            write_atomicity: 0,
            events: 0,
        }
    }
}

/// What there is.
pub(super) struct Limits {
    /// Pairs of I/O queues.
    pub queues: u16,
    /// A volatile write cache. Without one there is no such feature (5.21.1.6).
    pub write_cache: bool,
}

/// Number of I/O queues of each kind, as the command set writes it: both halves, less 1.
fn queues(submission: u16, completion: u16, most: u16) -> u32 {
    let granted = |asked: u16| u32::from(asked.min(most - 1));
    granted(submission) | granted(completion) << 16
}

impl Features {
    /// Get Features.
    pub(super) fn get(&self, command: &Command, limits: &Limits) -> Result<u32, Status> {
        let (identifier, select) = (command.word(10) as u8, command.word(10) >> 8 & 7);
        let value = match select {
            0 => self.value(identifier, command, limits)?,
            // Default, and saved, which is the same since nothing is saved.
            1 | 2 => Self::default().value(identifier, command, limits)?,
            // What can be done with it: change it, if it can be changed.
            3 => {
                self.value(identifier, command, limits)?;
                const CHANGEABLE: u32 = 1 << 2;
                CHANGEABLE
            }
            _ => return Err(Status::InvalidField),
        };
        Ok(value)
    }

    fn value(&self, identifier: u8, command: &Command, limits: &Limits) -> Result<u32, Status> {
        Ok(match identifier {
            id::ARBITRATION => self.arbitration,
            id::POWER_MANAGEMENT => self.power_state.into(),
            // The composite temperature, and whether the threshold is that of being over (0).
            id::TEMPERATURE_THRESHOLD => match command.word(11) >> 16 & 0x3f {
                0 => self.temperature_threshold.into(),
                _ => 0,
            },
            id::ERROR_RECOVERY => self.error_recovery,
            id::WRITE_CACHE if limits.write_cache => self.write_cache.into(),
            id::QUEUES => queues(limits.queues - 1, limits.queues - 1, limits.queues),
            id::INTERRUPT_COALESCING => self.interrupt_coalescing,
            id::INTERRUPT_VECTOR => command.word(11) & 0xffff,
            id::WRITE_ATOMICITY => self.write_atomicity,
            id::EVENTS => self.events,
            _ => return Err(Status::InvalidField),
        })
    }

    /// Set Features.
    pub(super) fn set(&mut self, command: &Command, limits: &Limits) -> Result<u32, Status> {
        const SAVE: u32 = 1 << 31;
        if command.word(10) & SAVE != 0 {
            return Err(Status::NotSaveable);
        }
        let value = command.word(11);
        match command.word(10) as u8 {
            id::ARBITRATION => self.arbitration = value,
            id::POWER_MANAGEMENT => {
                let state = (value & 0x1f) as u8;
                if usize::from(state) >= POWER_STATES.len() {
                    return Err(Status::InvalidField);
                }
                self.power_state = state;
            }
            id::TEMPERATURE_THRESHOLD => {
                // Over-temperature of the composite sensor; the others are not there.
                if value >> 16 & 0x3f == 0 {
                    self.temperature_threshold = value as u16;
                }
            }
            id::ERROR_RECOVERY => self.error_recovery = value & 0xffff,
            id::WRITE_CACHE if limits.write_cache => self.write_cache = value & 1 != 0,
            id::QUEUES => {
                let (submission, completion) = command.halves(11);
                if submission == u16::MAX || completion == u16::MAX {
                    return Err(Status::InvalidField);
                }
                return Ok(queues(submission, completion, limits.queues));
            }
            id::INTERRUPT_COALESCING => self.interrupt_coalescing = value & 0xffff,
            // Nothing is coalesced.
            id::INTERRUPT_VECTOR => return Err(Status::NotChangeable),
            id::WRITE_ATOMICITY => self.write_atomicity = value & 1,
            id::EVENTS => self.events = value,
            _ => return Err(Status::InvalidField),
        }
        Ok(0)
    }
}
