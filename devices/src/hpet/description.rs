//! What the guest is told.

use acpi_tables::{Aml, AmlSink, aml};

use super::{ADDRESS, Hpet, SIZE};

impl Aml for Hpet {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let hid = aml::Name::new("_HID".into(), &aml::EISAName::new("PNP0103"));
        let uid = aml::Name::new("_UID".into(), &0u8);
        let registers = aml::Memory32Fixed::new(true, ADDRESS as u32, SIZE as u32);
        let resources = aml::Name::new("_CRS".into(), &aml::ResourceTemplate::new(vec![&registers]));
        aml::Device::new("HPET".into(), vec![&hid, &uid, &resources]).to_aml_bytes(sink);
    }
}
