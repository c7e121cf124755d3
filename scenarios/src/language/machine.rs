//! `[machine]`.

use vmm::Config;
use vmm::config::{
    AlarmDelivery, ApStart, Date, FacsRegion, HpetKind, Hypervisor, Mitigations, RamAtPowerOn, TscOnS3,
    Vendor,
};

use super::Mistake;
use super::reader::{Table, Value};

/// The machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineSpec {
    /// As it is built. Its memory counts only if the scenario says how much.
    pub config: Config,
    /// The scenario says how much memory.
    pub sized: bool,
}

impl MachineSpec {
    /// A machine that differs from another one in what the table says.
    pub(super) fn read(mut table: Table<'_>, base: &Self) -> Result<Self, Mistake> {
        let mut config = base.config.clone();
        let place = table.place();
        let memory = table.optional("memory");
        if let Some(value) = memory {
            config.memory = value.size()?;
        }
        let numbers: [(&str, &mut u64, u64); 3] = [
            ("seed", &mut config.seed, 0),
            ("quantum", &mut config.quantum, 1),
            ("power-on", &mut config.power_on, 0),
        ];
        for (key, field, least) in numbers {
            if let Some(value) = table.optional(key) {
                *field = value.number(least..=u64::MAX >> 1)?;
            }
        }
        if let Some(value) = table.optional("processors") {
            config.processors = value.number(1..=64)? as u32;
        }
        if let Some(value) = table.optional("off-for") {
            config.off_for = value.duration()?;
        }
        if let Some(value) = table.optional("withheld") {
            config.withheld = value.size()?;
        }
        if let Some(value) = table.optional("reserved-page") {
            config.reserved_page = Some(value.number(0..=u64::MAX >> 1)?);
        }
        if let Some(value) = table.optional("hardware-signature") {
            config.hardware_signature = value.number(0..=u64::from(u32::MAX))? as u32;
        }
        if let Some(value) = table.optional("bios-date") {
            config.bios_date = date(value)?;
        }
        Self::words(&mut config, &mut table)?;
        table.end()?;
        config
            .check()
            .map_err(|error| Mistake::new(memory.map_or(place, |value| value.place()), error.to_string()))?;
        Ok(Self { config, sized: base.sized || memory.is_some() })
    }

    fn words(config: &mut Config, table: &mut Table<'_>) -> Result<(), Mistake> {
        if let Some(value) = table.optional("vendor") {
            config.vendor = value.word("vendor", &[("intel", Vendor::Intel), ("amd", Vendor::Amd)])?;
        }
        if let Some(value) = table.optional("hypervisor") {
            let words = [("kvm", Hypervisor::Kvm), ("none", Hypervisor::None)];
            config.hypervisor = value.word("hypervisor", &words)?;
        }
        if let Some(value) = table.optional("mitigations") {
            let words = [("none", Mitigations::None), ("real", Mitigations::Real)];
            config.mitigations = value.word("state of mitigations", &words)?;
        }
        if let Some(value) = table.optional("ap-start") {
            let words = [
                ("normal", ApStart::Normal),
                ("drop-first-sipi", ApStart::DropFirstSipi),
                ("drop-all", ApStart::DropAll),
            ];
            config.ap_start = value.word("start of processors", &words)?;
        }
        if let Some(value) = table.optional("tsc-on-s3") {
            config.tsc_on_s3 = tsc(value)?;
        }
        if let Some(value) = table.optional("ram-at-power-on") {
            let words = [("zero", RamAtPowerOn::Zero), ("seeded", RamAtPowerOn::Seeded)];
            config.ram_at_power_on = value.word("contents of RAM", &words)?;
        }
        if let Some(value) = table.optional("facs") {
            let words = [("reserved", FacsRegion::Reserved), ("nvs", FacsRegion::Nvs)];
            config.facs = value.word("kind of memory", &words)?;
        }
        if let Some(value) = table.optional("hpet") {
            let words = [
                ("off", HpetKind::Off),
                ("on", HpetKind::On),
                ("without-replacement", HpetKind::WithoutReplacement),
            ];
            config.hpet = value.word("HPET", &words)?;
        }
        if let Some(value) = table.optional("rtc-alarm") {
            let words = [
                ("both", AlarmDelivery::Both),
                ("acpi", AlarmDelivery::Acpi),
                ("irq8", AlarmDelivery::Interrupt),
            ];
            config.rtc_alarm = value.word("delivery of alarms", &words)?;
        }
        Ok(())
    }
}

fn tsc(value: Value<'_>) -> Result<TscOnS3, Mistake> {
    if value.is_string() {
        return value.word("effect on the TSC", &[("reset", TscOnS3::Reset), ("keep", TscOnS3::Keep)]);
    }
    let mut table = value.table("the effect on the TSC")?;
    let ticks = table.required("jump")?.integer()?;
    table.end()?;
    Ok(TscOnS3::Jump(ticks))
}

/// `2024-01-31`, as a date or as text; year 0 stands for a machine without SMBIOS.
fn date(value: Value<'_>) -> Result<Date, Mistake> {
    let text = value.date_text()?;
    let mut parts = text.split('-').map(str::parse::<u16>);
    let date = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(Ok(year)), Some(Ok(month)), Some(Ok(day)), None) if month <= 12 && day <= 31 => {
            Some(Date { year, month: month as u8, day: day as u8 })
        }
        _ => None,
    };
    date.ok_or_else(|| {
        value.mistake("`bios-date` is no date").help("like 2024-01-31; year 0 means no SMBIOS")
    })
}
