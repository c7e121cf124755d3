//! What to build a machine from: its size, and the knobs that provoke faults of firmware and hardware.

mod check;

pub use check::InvalidConfig;
pub use cpu::cpuid::{Hypervisor, Mitigations, Vendor};
pub use devices::rtc::AlarmDelivery;
pub use firmware::config::{Date, FacsRegion};
use serde::{Deserialize, Serialize};

/// A machine. Disks are given apart: they have contents.
///
/// All of it may be another at the next boot, see [`crate::Machine::reconfigure`]; `seed` and `power_on` then have no effect on what
/// goes on over the loss of power.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Virtual processors.
    pub processors: u32,
    /// Bytes of RAM.
    pub memory: u64,
    /// Of everything that is random: RDRAND, turns of the processors. The same seed gives the same run.
    pub seed: u64,
    /// World time when power first comes on, in nanoseconds since 1970.
    pub power_on: u64,
    /// Nanoseconds that power is off for when nobody says how long.
    pub off_for: u64,
    /// Instructions a processor runs before the next one takes its turn. With a seed other than 1 each turn is up to half as long or
    /// half as long again.
    pub quantum: u64,
    /// Whose the processors are.
    pub vendor: Vendor,
    /// Which hypervisor CPUID names.
    pub hypervisor: Hypervisor,
    /// Whether the processors are of a model that has flaws to work around.
    pub mitigations: Mitigations,
    /// Which start-up IPIs processors miss.
    pub ap_start: ApStart,
    /// What S3 does to time-stamp counters.
    pub tsc_on_s3: TscOnS3,
    /// What is in RAM when power comes on.
    pub ram_at_power_on: RamAtPowerOn,
    /// Bytes at the end of RAM below 4 GiB that the memory map calls reserved.
    pub withheld: u64,
    /// Address of a page of RAM that the memory map calls reserved.
    pub reserved_page: Option<u64>,
    /// What the memory map calls the page of the FACS.
    pub facs: FacsRegion,
    /// FACS hardware signature.
    pub hardware_signature: u32,
    /// Date of the BIOS, which decides quirks of the guest. Year 0: there is no SMBIOS.
    pub bios_date: Date,
    /// Whether there is a high precision event timer.
    pub hpet: HpetKind,
    /// Where an alarm of the real-time clock shows.
    pub rtc_alarm: AlarmDelivery,
}

/// Which start-up IPIs a processor misses, after power-on, a reset and a wake from S3 alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApStart {
    /// None.
    #[default]
    Normal,
    /// The first.
    DropFirstSipi,
    /// All: it never starts.
    DropAll,
}

impl ApStart {
    /// How many it misses.
    pub(crate) fn missed(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::DropFirstSipi => 1,
            Self::DropAll => u32::MAX,
        }
    }
}

/// What S3 does to time-stamp counters and IA32_TSC_ADJUST. The reset line and power-on always reset them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TscOnS3 {
    /// They begin again at 0, as after any loss of power.
    Reset,
    /// They stand still, and go on.
    #[default]
    Keep,
    /// They go on from this many ticks (of half a nanosecond) further; fewer than 0 is back.
    Jump(i64),
}

/// What is in RAM when power comes on. After the reset line it is what was there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RamAtPowerOn {
    /// Zeros.
    #[default]
    Zero,
    /// Noise, which follows from the seed, and is the same each time.
    Seeded,
}

/// Which high precision event timer there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HpetKind {
    /// None.
    #[default]
    Off,
    /// One that can replace the interval timer and the interrupt of the real-time clock.
    On,
    /// One that cannot.
    WithoutReplacement,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            processors: 1,
            memory: 256 << 20,
            seed: 1,
            // 2024-01-01 00:00:00 UTC.
            power_on: 1_704_067_200_000_000_000,
            off_for: 60_000_000_000,
            quantum: 10_000,
            vendor: Vendor::default(),
            hypervisor: Hypervisor::default(),
            mitigations: Mitigations::default(),
            ap_start: ApStart::default(),
            tsc_on_s3: TscOnS3::default(),
            ram_at_power_on: RamAtPowerOn::default(),
            withheld: 0,
            reserved_page: None,
            facs: FacsRegion::Reserved,
            hardware_signature: 0x6b6a_766d,
            bios_date: Date { year: 2024, month: 1, day: 1 },
            hpet: HpetKind::default(),
            rtc_alarm: AlarmDelivery::default(),
        }
    }
}
