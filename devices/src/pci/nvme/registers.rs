//! Controller registers (3.1).

use serde::{Deserialize, Serialize};

/// Offsets.
pub(super) mod at {
    pub const CAPABILITIES: u64 = 0x00;
    pub const VERSION: u64 = 0x08;
    pub const MASK_SET: u64 = 0x0c;
    pub const MASK_CLEAR: u64 = 0x10;
    pub const CONFIGURATION: u64 = 0x14;
    pub const STATUS: u64 = 0x1c;
    pub const ADMIN_ATTRIBUTES: u64 = 0x24;
    pub const ADMIN_SUBMISSION: u64 = 0x28;
    pub const ADMIN_COMPLETION: u64 = 0x30;
    /// Tail of submission queue 0, head of completion queue 0, and so on, 4 bytes each.
    pub const DOORBELLS: u64 = 0x1000;
}

/// Entries of the largest I/O queue.
pub(super) const MAX_QUEUE_ENTRIES: u32 = 1024;
/// Queues are contiguous (CQR); ready within 2 s (TO); the NVM command set (CSS); pages of 4 KiB only (MPSMIN, MPSMAX).
const CAPABILITIES: u64 = (MAX_QUEUE_ENTRIES as u64 - 1) | 1 << 16 | 4 << 24 | 1 << 37;
/// 1.4.0.
pub(super) const VERSION: u32 = 0x0001_0400;

/// CC.EN.
pub(super) const ENABLE: u32 = 1;
/// CC.CSS, MPS and AMS: only 0 is supported.
const CHOICES: u32 = 0x3ff0;
/// What of CC exists.
const CONFIGURATION_BITS: u32 = 0x00ff_fff1;

/// Shutdown notification of CC, shutdown status of CSTS.
const SHUTDOWN_NOTICE_SHIFT: u32 = 14;
const SHUTDOWN_SHIFT: u32 = 2;
/// CSTS.RDY and CFS.
const READY: u32 = 1;
const FATAL: u32 = 2;

/// Notice of a shutdown (CC.SHN).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Notice {
    Normal,
    Abrupt,
}

/// Progress of a shutdown (CSTS.SHST).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Shutdown {
    #[default]
    None,
    Occurring,
    Complete,
}

/// What is left to do after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    Nothing,
    Enabled,
    Disabled,
    ShutDown(Notice),
}

/// Those that hold something.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registers {
    /// Interrupts of the pin, by vector.
    pub masked: u32,
    pub configuration: u32,
    pub ready: bool,
    pub fatal: bool,
    pub shutdown: Shutdown,
    admin_attributes: u32,
    admin_submission: u64,
    admin_completion: u64,
}

/// Where the admin queues are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AdminQueues {
    pub submission: u64,
    pub submission_entries: u32,
    pub completion: u64,
    pub completion_entries: u32,
}

impl Registers {
    /// The doubleword at this offset.
    pub(super) fn word(&self, offset: u64) -> u32 {
        let half = |value: u64, first: u64| (value >> (8 * (offset - first))) as u32;
        match offset {
            at::CAPABILITIES | 0x04 => half(CAPABILITIES, at::CAPABILITIES),
            at::VERSION => VERSION,
            at::MASK_SET | at::MASK_CLEAR => self.masked,
            at::CONFIGURATION => self.configuration,
            at::STATUS => self.status(),
            at::ADMIN_ATTRIBUTES => self.admin_attributes,
            at::ADMIN_SUBMISSION | 0x2c => half(self.admin_submission, at::ADMIN_SUBMISSION),
            at::ADMIN_COMPLETION | 0x34 => half(self.admin_completion, at::ADMIN_COMPLETION),
            _ => 0,
        }
    }

    fn status(&self) -> u32 {
        let flag = |set: bool, bit: u32| if set { bit } else { 0 };
        flag(self.ready, READY) | flag(self.fatal, FATAL) | (self.shutdown as u32) << SHUTDOWN_SHIFT
    }

    /// Writes a doubleword.
    pub(super) fn write(&mut self, offset: u64, value: u32) -> Effect {
        let over = |register: u64, first: u64| {
            let shift = 8 * (offset - first);
            register & !(u64::from(u32::MAX) << shift) | u64::from(value) << shift
        };
        // Bits of alignment are not there.
        let page = |address: u64| address & !0xfff;
        match offset {
            at::MASK_SET => self.masked |= value,
            at::MASK_CLEAR => self.masked &= !value,
            at::CONFIGURATION => return self.configure(value & CONFIGURATION_BITS),
            at::ADMIN_ATTRIBUTES => self.admin_attributes = value & 0x0fff_0fff,
            at::ADMIN_SUBMISSION | 0x2c => {
                self.admin_submission = page(over(self.admin_submission, at::ADMIN_SUBMISSION));
            }
            at::ADMIN_COMPLETION | 0x34 => {
                self.admin_completion = page(over(self.admin_completion, at::ADMIN_COMPLETION));
            }
            _ => {}
        }
        Effect::Nothing
    }

    fn configure(&mut self, value: u32) -> Effect {
        let before = std::mem::replace(&mut self.configuration, value);
        match (before & ENABLE != 0, value & ENABLE != 0) {
            (false, true) => return Effect::Enabled,
            (true, false) => return Effect::Disabled,
            _ => {}
        }
        let notice = |configuration: u32| match configuration >> SHUTDOWN_NOTICE_SHIFT & 3 {
            1 => Some(Notice::Normal),
            2 => Some(Notice::Abrupt),
            _ => None,
        };
        match notice(value) {
            Some(kind) if notice(before) != Some(kind) => Effect::ShutDown(kind),
            _ => Effect::Nothing,
        }
    }

    /// Where the admin queues are, if the driver chose only what there is.
    pub(super) fn admin_queues(&self) -> Option<AdminQueues> {
        let entries = |shift: u32| (self.admin_attributes >> shift & 0xfff) + 1;
        let queues = AdminQueues {
            submission: self.admin_submission,
            submission_entries: entries(0),
            completion: self.admin_completion,
            completion_entries: entries(16),
        };
        let possible = queues.submission_entries >= 2 && queues.completion_entries >= 2;
        (self.configuration & CHOICES == 0 && possible).then_some(queues)
    }

    /// Whether an I/O queue's entries have the sizes there are: 2^6 and 2^4 bytes (CC.IOSQES, IOCQES).
    pub(super) fn has_entry_sizes(&self) -> bool {
        self.configuration >> 16 == 0x46
    }

    /// After CC.EN went to 0: the admin queues and the interrupt mask stay as they were (7.3.2).
    pub(super) fn reset(&mut self) {
        self.ready = false;
        self.fatal = false;
        self.shutdown = Shutdown::None;
    }
}
