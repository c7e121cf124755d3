//! The fixed hardware of ACPI: power management events, sleep control, timer and general-purpose events (ACPI 4.8).
//!
//! The machine is always in ACPI mode: there is no SMI command port, and SCI_EN reads 1.

#[cfg(test)]
mod tests;

use bitflags::bitflags;
use serde::{Deserialize, Serialize};

use crate::oscillator::Frequency;
use crate::register::{self, Lanes, W1c};
use crate::{Context, Device, Event, Gsi, PowerRequest, Reset, VirtualTime};

/// PM1a event block: status, then enable; 4 bytes.
pub const PM1_EVENT: u16 = 0x600;
/// PM1a control block, 2 bytes.
pub const PM1_CONTROL: u16 = 0x604;
/// Power management timer, 4 bytes.
pub const PM_TIMER: u16 = 0x608;
/// General-purpose events: 2 bytes of status, then 2 of enable.
pub const GPE0: u16 = 0x620;
/// All of it: from the first port ...
pub const FIRST_PORT: u16 = PM1_EVENT;
/// ... this many.
pub const PORTS: u8 = 0x24;
/// The system control interrupt: level, active high.
pub const SCI: Gsi = Gsi(9);

bitflags! {
    /// PM1 status and enable (ACPI 4.8.3.1).
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Pm1: u16 {
        /// The highest bit of the timer changed.
        const TIMER = 1 << 0;
        /// A bus master asked for the bus. Never here.
        const BUS_MASTER = 1 << 4;
        /// Firmware released the global lock. Never here.
        const GLOBAL = 1 << 5;
        /// The power button was pressed.
        const POWER_BUTTON = 1 << 8;
        /// The sleep button was pressed. There is none.
        const SLEEP_BUTTON = 1 << 9;
        /// The alarm of the real-time clock went off.
        const RTC = 1 << 10;
        /// The machine woke.
        const WAKE = 1 << 15;
    }

    /// PM1 control (ACPI 4.8.3.2), what of it is stored.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
    struct Control: u16 {
        const SCI_ENABLED = 1 << 0;
        const BUS_MASTER_RELOAD = 1 << 1;
        const SLEEP_TYPE = 7 << 10;
    }

    /// General-purpose events (ACPI 4.8.4.1).
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Gpe: u16 {
        /// All sixteen.
        const ALL = 0xFFFF;
    }
}

const SLEEP_ENABLE: u64 = 1 << 13;

impl Pm1 {
    /// Those that software can enable.
    const ENABLES: Self =
        Self::TIMER.union(Self::GLOBAL).union(Self::POWER_BUTTON).union(Self::SLEEP_BUTTON).union(Self::RTC);
    /// Those whose source has power while the machine sleeps.
    const WAKES: Self = Self::POWER_BUTTON.union(Self::SLEEP_BUTTON).union(Self::RTC);
}

/// A sleep state, known to the guest by a number it finds in `\_Sx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SleepState {
    /// Suspend to RAM.
    S3,
    /// Hibernation: off, until a wake event.
    S4,
    /// Off.
    S5,
}

impl SleepState {
    /// SLP_TYP of the working state: what `\_S0` says; it asks for nothing.
    pub const WORKING: u8 = 5;

    /// SLP_TYP.
    pub fn slp_typ(self) -> u8 {
        match self {
            Self::S3 => 1,
            Self::S4 => 2,
            Self::S5 => 0,
        }
    }

    /// Of a SLP_TYP.
    pub fn of_slp_typ(slp_typ: u8) -> Option<Self> {
        [Self::S3, Self::S4, Self::S5].into_iter().find(|state| state.slp_typ() == slp_typ)
    }
}

/// How wide the timer is: FADT flag TMR_VAL_EXT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TimerWidth {
    /// 24 bits, 4.7 seconds.
    Bits24,
    /// 32 bits, 20 minutes.
    Bits32,
}

impl TimerWidth {
    fn bits(self) -> u32 {
        match self {
            Self::Bits24 => 24,
            Self::Bits32 => 32,
        }
    }
}

/// What does not change while the machine exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// S3 exists: described to the guest, and entered when asked for.
    pub s3: bool,
    /// S4 exists.
    pub s4: bool,
    /// Width of the timer.
    pub timer: TimerWidth,
}

impl Default for Config {
    fn default() -> Self {
        Self { s3: true, s4: true, timer: TimerWidth::Bits32 }
    }
}

impl Config {
    /// Whether the machine has this state. It can always be switched off.
    pub fn has(self, state: SleepState) -> bool {
        match state {
            SleepState::S3 => self.s3,
            SleepState::S4 => self.s4,
            SleepState::S5 => true,
        }
    }
}

/// The registers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcpiPm {
    config: Config,
    status: W1c<Pm1>,
    enable: Pm1,
    control: Control,
    gpe_status: W1c<Gpe>,
    gpe_enable: Gpe,
    /// Half periods of the timer (changes of its highest bit) that the status has seen.
    timer_changes: u64,
}

impl AcpiPm {
    /// As it is when power comes on.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            status: W1c::default(),
            enable: Pm1::empty(),
            control: Control::SCI_ENABLED,
            gpe_status: W1c::default(),
            gpe_enable: Gpe::empty(),
            timer_changes: 0,
        }
    }

    /// What does not change.
    pub fn config(&self) -> Config {
        self.config
    }

    /// The power button is pressed. In a machine that sleeps it is a wake event whether it is enabled or not.
    pub fn press_power_button(&mut self, cx: &mut Context) {
        self.raise(Pm1::POWER_BUTTON, cx);
    }

    /// The alarm of the real-time clock goes off.
    pub fn rtc_alarm(&mut self, cx: &mut Context) {
        self.raise(Pm1::RTC, cx);
    }

    /// A general-purpose event.
    pub fn general_purpose_event(&mut self, event: Gpe, cx: &mut Context) {
        self.gpe_status.raise(event);
        self.drive(cx);
    }

    /// Whether something has happened that software wants to be woken by: a sleeping machine wakes, one that goes to sleep does not.
    pub fn wants_wake(&self) -> bool {
        self.status.level(self.enable & Pm1::WAKES) || self.gpe_status.level(self.gpe_enable)
    }

    /// The machine wakes: software waits for this bit.
    pub fn woke(&mut self, cx: &mut Context) {
        self.raise(Pm1::WAKE, cx);
    }

    /// Status, for whoever looks from outside: [`Pm1::TIMER`] as last seen by the guest.
    pub fn status(&self) -> Pm1 {
        self.status.get()
    }

    /// What raises the SCI or wakes.
    pub fn enabled(&self) -> Pm1 {
        self.enable
    }

    fn raise(&mut self, flags: Pm1, cx: &mut Context) {
        self.status.raise(flags);
        self.drive(cx);
    }

    /// The level of the SCI follows from the registers, after each change of them.
    fn drive(&self, cx: &mut Context) {
        cx.lines.set(SCI, self.status.level(self.enable) || self.gpe_status.level(self.gpe_enable));
    }

    /// Brings TMR_STS up to date.
    fn look_at_timer(&mut self, now: VirtualTime) {
        let changes = Frequency::PM_TIMER.periods(now.0) >> (self.config.timer.bits() - 1);
        if changes != self.timer_changes {
            self.timer_changes = changes;
            self.status.raise(Pm1::TIMER);
        }
    }

    fn timer(&self, now: VirtualTime) -> u64 {
        Frequency::PM_TIMER.periods(now.0) & ((1 << self.config.timer.bits()) - 1)
    }

    fn write_control(&mut self, lanes: Lanes, cx: &mut Context) {
        let stored = lanes.over(u64::from(self.control.bits()));
        self.control = Control::from_bits_truncate(stored as u16) | Control::SCI_ENABLED;
        if lanes.value & SLEEP_ENABLE == 0 {
            return;
        }
        let slp_typ = ((self.control & Control::SLEEP_TYPE).bits() >> 10) as u8;
        cx.emit(Event::SleepRegister { slp_typ });
        if SleepState::of_slp_typ(slp_typ).is_some_and(|state| self.config.has(state)) {
            *cx.power = Some(PowerRequest::Sleep { slp_typ });
        }
    }
}

impl Device for AcpiPm {
    fn read(&mut self, address: u64, size: u8, cx: &mut Context) -> u64 {
        self.look_at_timer(cx.now);
        self.drive(cx);
        register::read(2, address, size, |port| match u16::try_from(port).unwrap_or(0) {
            PM1_EVENT => self.status.get().bits().into(),
            0x602 => self.enable.bits().into(),
            PM1_CONTROL => self.control.bits().into(),
            PM_TIMER => self.timer(cx.now),
            0x60A => self.timer(cx.now) >> 16,
            GPE0 => self.gpe_status.get().bits().into(),
            0x622 => self.gpe_enable.bits().into(),
            _ => u64::MAX,
        })
    }

    fn write(&mut self, address: u64, size: u8, value: u64, cx: &mut Context) {
        self.look_at_timer(cx.now);
        register::write(2, address, size, value, |port, lanes| match u16::try_from(port).unwrap_or(0) {
            PM1_EVENT => self.status.write(lanes),
            0x602 => {
                let enable = Pm1::from_bits_truncate(lanes.over(self.enable.bits().into()) as u16);
                self.enable = enable & Pm1::ENABLES;
            }
            PM1_CONTROL => self.write_control(lanes, cx),
            GPE0 => self.gpe_status.write(lanes),
            0x622 => {
                self.gpe_enable = Gpe::from_bits_truncate(lanes.over(self.gpe_enable.bits().into()) as u16)
            }
            _ => {}
        });
        self.drive(cx);
    }

    /// The timer is worth a call only while its overflow would raise the SCI.
    fn deadline(&self) -> Option<VirtualTime> {
        if !self.enable.contains(Pm1::TIMER) || self.status.get().contains(Pm1::TIMER) {
            return None;
        }
        let next = self.timer_changes.saturating_add(1).saturating_mul(1 << (self.config.timer.bits() - 1));
        Some(VirtualTime(Frequency::PM_TIMER.nanoseconds(next)))
    }

    fn tick(&mut self, cx: &mut Context) {
        if self.deadline().is_some_and(|due| due <= cx.now) {
            self.look_at_timer(cx.now);
            self.drive(cx);
        }
    }

    /// Status and enables stand on standby power: they know what woke the machine. The timer starts with the machine, not with a reset.
    fn reset(&mut self, kind: Reset, cx: &mut Context) {
        let kept = self.clone();
        *self = Self::new(self.config);
        if kind != Reset::PowerOn {
            self.status = kept.status;
            self.enable = kept.enable & Pm1::WAKES;
            self.gpe_status = kept.gpe_status;
            self.gpe_enable = kept.gpe_enable;
        }
        self.timer_changes = Frequency::PM_TIMER.periods(cx.now.0) >> (self.config.timer.bits() - 1);
        self.drive(cx);
    }
}
