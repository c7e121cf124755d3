//! One 8259A.

use serde::{Deserialize, Serialize};

/// The input whose vector is given when the request is gone.
pub(super) const SPURIOUS: u8 = 7;

/// Which initialization command word comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Step {
    Ready,
    Vectors,
    Cascade,
    Mode,
}

/// What the next read of the command port shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Shown {
    Requests,
    InService,
}

/// The chip. A bit is an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Controller {
    /// Requests: latched edges, and levels.
    requests: u8,
    in_service: u8,
    masked: u8,
    active: u8,
    level_triggered: u8,
    /// Inputs that another controller drives.
    cascades: u8,
    /// Vector of input 0.
    base: u8,
    lowest: u8,
    step: Step,
    /// ICW1 said that there is no ICW3, and that there is an ICW4.
    single: bool,
    has_mode: bool,
    shown: Shown,
    poll: bool,
    special_mask: bool,
    fully_nested: bool,
    automatic_end: bool,
    rotate_automatically: bool,
}

impl Controller {
    /// With this vector for input 0, and these inputs driven by another controller; everything masked.
    pub(super) fn new(base: u8, cascades: u8) -> Self {
        Self {
            requests: 0,
            in_service: 0,
            masked: 0xFF,
            active: 0,
            level_triggered: 0,
            cascades,
            base,
            lowest: 7,
            step: Step::Ready,
            single: false,
            has_mode: false,
            shown: Shown::Requests,
            poll: false,
            special_mask: false,
            fully_nested: false,
            automatic_end: false,
            rotate_automatically: false,
        }
    }

    /// Inputs change. An edge stays latched when its input falls: the line may have been released by somebody who saw the cause
    /// go, and then the processor finds nothing to do, as it would with the spurious vector the original gives.
    pub(super) fn drive(&mut self, active: u8, risen: u8) {
        let edges = (risen | active & !self.active) & !self.level_triggered;
        self.active = active;
        self.requests = self.requests & !self.level_triggered | active & self.level_triggered | edges;
    }

    pub(super) fn active(&self) -> u8 {
        self.active
    }

    pub(super) fn is_masked(&self, input: u8) -> bool {
        self.masked & 1 << input != 0
    }

    pub(super) fn level_triggered(&self) -> u8 {
        self.level_triggered
    }

    pub(super) fn set_level_triggered(&mut self, inputs: u8) {
        self.level_triggered = inputs;
        self.drive(self.active, 0);
    }

    /// The most important input that asks and may interrupt what is in service.
    pub(super) fn request(&self) -> Option<u8> {
        let asking = self.requests & !self.masked;
        let blocking = if self.special_mask { self.in_service & !self.masked } else { self.in_service };
        for input in self.by_priority() {
            let bit = 1 << input;
            // In special fully nested mode a second request of the cascade passes while a first is in service.
            let passes = blocking & bit == 0 || self.fully_nested && self.cascades & bit != 0;
            if asking & bit != 0 && passes {
                return Some(input);
            }
            if blocking & bit != 0 {
                return None;
            }
        }
        None
    }

    fn by_priority(&self) -> impl Iterator<Item = u8> {
        let lowest = self.lowest;
        (1..=8).map(move |step| (lowest + step) % 8)
    }

    pub(super) fn vector(&self, input: u8) -> u8 {
        self.base | input
    }

    /// INTA: takes the request into service. None if it is gone.
    pub(super) fn acknowledge(&mut self) -> Option<u8> {
        let input = self.request()?;
        let bit = 1 << input;
        self.requests &= !bit | self.level_triggered;
        if !self.automatic_end {
            self.in_service |= bit;
        } else if self.rotate_automatically {
            self.lowest = input;
        }
        Some(input)
    }

    pub(super) fn read_command(&mut self) -> u8 {
        if std::mem::take(&mut self.poll) {
            return self.polled();
        }
        match self.shown {
            Shown::Requests => self.requests,
            Shown::InService => self.in_service,
        }
    }

    pub(super) fn read_data(&mut self) -> u8 {
        if std::mem::take(&mut self.poll) { self.polled() } else { self.masked }
    }

    /// A read after the poll command acknowledges.
    fn polled(&mut self) -> u8 {
        self.acknowledge().map_or(0, |input| 0x80 | input)
    }

    pub(super) fn write_command(&mut self, value: u8) {
        if value & 1 << 4 != 0 {
            self.initialize(value);
        } else if value & 1 << 3 != 0 {
            self.operation_3(value);
        } else {
            self.operation_2(value);
        }
    }

    /// ICW1. Its bit for level triggering is not there in a PC: the edge/level registers replace it. Inputs that are active must
    /// fall and rise to be seen as edges.
    fn initialize(&mut self, value: u8) {
        *self = Self {
            masked: 0,
            requests: self.active & self.level_triggered,
            active: self.active,
            level_triggered: self.level_triggered,
            step: Step::Vectors,
            single: value & 1 << 1 != 0,
            has_mode: value & 1 != 0,
            ..Self::new(self.base, self.cascades)
        };
    }

    /// OCW2: ends of interrupts, and priorities.
    fn operation_2(&mut self, value: u8) {
        let (rotate, specific, end) = (value & 0x80 != 0, value & 0x40 != 0, value & 0x20 != 0);
        let named = value & 7;
        if !end {
            match (rotate, specific) {
                (rotate, false) => self.rotate_automatically = rotate,
                (true, true) => self.lowest = named,
                (false, true) => {}
            }
            return;
        }
        let ended = if specific { Some(named) } else { self.most_important_in_service() };
        if let Some(input) = ended {
            self.in_service &= !(1 << input);
            if rotate {
                self.lowest = input;
            }
        }
    }

    fn most_important_in_service(&self) -> Option<u8> {
        let candidates = if self.special_mask { self.in_service & !self.masked } else { self.in_service };
        self.by_priority().find(|input| candidates & 1 << input != 0)
    }

    /// OCW3: what is read next, poll, special mask mode.
    fn operation_3(&mut self, value: u8) {
        match value & 3 {
            2 => self.shown = Shown::Requests,
            3 => self.shown = Shown::InService,
            _ => {}
        }
        self.poll = value & 1 << 2 != 0;
        if value & 1 << 6 != 0 {
            self.special_mask = value & 1 << 5 != 0;
        }
    }

    pub(super) fn write_data(&mut self, value: u8) {
        match self.step {
            Step::Ready => self.masked = value,
            Step::Vectors => {
                self.base = value & 0xF8;
                self.step = match (self.single, self.has_mode) {
                    (false, _) => Step::Cascade,
                    (true, true) => Step::Mode,
                    (true, false) => Step::Ready,
                };
            }
            // Where the second controller is attached is a matter of wires.
            Step::Cascade => self.step = if self.has_mode { Step::Mode } else { Step::Ready },
            Step::Mode => {
                self.fully_nested = value & 1 << 4 != 0;
                self.automatic_end = value & 1 << 1 != 0;
                self.step = Step::Ready;
            }
        }
    }
}
