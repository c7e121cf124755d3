//! The DSDT: sleep states, processors, the PCI host bridge, and what devices say about themselves.

use acpi_tables::Aml;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, Device, EISAName, IO, Memory32Fixed, Name, Package, Path,
    ResourceTemplate, Scope,
};
use acpi_tables::sdt::Sdt;

use super::{OEM, OEM_REVISION, OEM_TABLE};
use crate::config::{Config, ConfigError, Pci, SleepStates};

/// Revision 2: integers have 64 bits.
const REVISION: u8 = 2;
const HEADER_LEN: u32 = 36;
/// The ports of legacy configuration access, which the bridge answers itself.
const CONFIG_PORTS: (u16, u16) = (0xcf8, 0xcff);

/// `devices`: put into `\_SB` behind the rest.
pub fn table(config: &Config, devices: &[&dyn Aml]) -> Result<Sdt, ConfigError> {
    let mut aml = Vec::new();
    let SleepStates { s0, s3, s4, s5 } = config.sleep;
    for (name, slp_typ) in [("_S0_", Some(s0)), ("_S3_", s3), ("_S4_", s4), ("_S5_", Some(s5))] {
        let Some(slp_typ) = slp_typ else { continue };
        // PM1a, PM1b, and two reserved elements (ACPI 6.5, 7.4.2).
        let package = Package::new(vec![&slp_typ, &slp_typ, &0u8, &0u8]);
        Name::new(name.into(), &package).to_aml_bytes(&mut aml);
    }
    let mut system = Vec::new();
    for uid in 0..config.processors {
        processor(uid, &mut system);
    }
    host_bridge(&config.pci, &mut system)?;
    motherboard(config, &mut system)?;
    for device in devices {
        device.to_aml_bytes(&mut system);
    }
    aml.extend(Scope::raw(Path::new("_SB_"), system));
    let mut table = Sdt::new(*b"DSDT", HEADER_LEN, REVISION, OEM, OEM_TABLE, OEM_REVISION);
    table.append_slice(&aml);
    Ok(table)
}

fn processor(uid: u32, aml: &mut Vec<u8>) {
    let name = format!("C{uid:03X}");
    let hid = Name::new("_HID".into(), &"ACPI0007");
    let uid = Name::new("_UID".into(), &uid);
    Device::new(name.as_str().into(), vec![&hid, &uid]).to_aml_bytes(aml);
}

/// A conventional bridge (PNP0A03): the bus has no links, hot plug or error reporting to negotiate by _OSC.
fn host_bridge(pci: &Pci, aml: &mut Vec<u8>) -> Result<(), ConfigError> {
    let last_bus = pci.buses.checked_sub(1).ok_or(ConfigError::Pci("there is no bus"))?;
    if pci.window.start >= pci.window.end || pci.window.start == 0 {
        return Err(ConfigError::Pci("the window for memory is empty"));
    }
    if pci.intx_count == 0 || pci.intx.checked_add(pci.intx_count).is_none() {
        return Err(ConfigError::Pci("there is no interrupt for INTA"));
    }
    if pci.slots > 32 {
        return Err(ConfigError::Pci("a bus has 32 slots"));
    }
    let buses = AddressSpace::new_bus_number(0u16, u16::from(last_bus));
    let (first, last) = CONFIG_PORTS;
    let config = IO::new(first, first, 1, (last - first + 1) as u8);
    let low_ports = AddressSpace::new_io(0u16, first - 1, None);
    let high_ports = AddressSpace::new_io(last + 1, u16::MAX, None);
    let window = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        pci.window.start,
        pci.window.end - 1,
        None,
    );
    let resources = ResourceTemplate::new(vec![&buses, &config, &low_ports, &high_ports, &window]);

    let routes: Vec<Route> =
        (0..pci.slots).map(|slot| Route { slot, gsi: pci.intx + u32::from(slot) % pci.intx_count }).collect();
    let routes = Package::new(routes.iter().map(|route| route as &dyn Aml).collect());
    Device::new(
        "PCI0".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_SEG".into(), &0u8),
            &Name::new("_BBN".into(), &0u8),
            &Name::new("_CRS".into(), &resources),
            &Name::new("_PRT".into(), &routes),
        ],
    )
    .to_aml_bytes(aml);
    Ok(())
}

/// Where the INTA of all functions in a slot goes (6.2.13), straight to a GSI.
struct Route {
    slot: u8,
    gsi: u32,
}

impl Aml for Route {
    fn to_aml_bytes(&self, sink: &mut dyn acpi_tables::AmlSink) {
        const EVERY_FUNCTION: u32 = 0xffff;
        const INTA: u8 = 0;
        const NO_LINK: u8 = 0;
        let address = u32::from(self.slot) << 16 | EVERY_FUNCTION;
        Package::new(vec![&address, &INTA, &NO_LINK, &self.gsi]).to_aml_bytes(sink);
    }
}

/// What no device claims: memory-mapped configuration space, which Linux only uses if it is reserved here, and the ports of ACPI.
fn motherboard(config: &Config, aml: &mut Vec<u8>) -> Result<(), ConfigError> {
    let outside = ConfigError::Pci("configuration space has to be below 4 GiB");
    let (Ok(ecam), Ok(ecam_len)) = (u32::try_from(config.pci.ecam), u32::try_from(config.pci.ecam_len))
    else {
        return Err(outside);
    };
    let ecam = Memory32Fixed::new(true, ecam, ecam_len);
    let ports = &config.power.ports;
    let len = u8::try_from(ports.len()).map_err(|_| ConfigError::Room {
        what: "ports of ACPI",
        needed: ports.len() as u64,
        room: u64::from(u8::MAX),
    })?;
    let ports = IO::new(ports.start, ports.start, 1, len);
    let resources = ResourceTemplate::new(vec![&ecam, &ports]);
    Device::new(
        "MBRD".into(),
        vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &0u8),
            &Name::new("_CRS".into(), &resources),
        ],
    )
    .to_aml_bytes(aml);
    Ok(())
}
