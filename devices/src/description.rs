//! Pieces of ACPI descriptions that several devices use.

use acpi_tables::{Aml, AmlSink, aml};

/// An ISA interrupt: edge-triggered, active high, not shared (ACPI 6.4.2.1, the form without flags).
pub(crate) struct IsaInterrupts(pub(crate) u16);

impl Aml for IsaInterrupts {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(self.0);
    }
}

/// Ports at a fixed place.
pub(crate) fn ports(first: u16, count: u8) -> aml::IO {
    aml::IO::new(first, first, 1, count)
}

/// A device of the ISA bus, in whatever scope it is put.
pub(crate) fn isa_device(name: &str, hid: &str, uid: u8, resources: &[&dyn Aml], sink: &mut dyn AmlSink) {
    let hid = aml::Name::new("_HID".into(), &aml::EISAName::new(hid));
    let uid = aml::Name::new("_UID".into(), &uid);
    let resources = aml::Name::new("_CRS".into(), &aml::ResourceTemplate::new(resources.to_vec()));
    aml::Device::new(name.into(), vec![&hid, &uid, &resources]).to_aml_bytes(sink);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WorldTime, hpet, pic, pit, rtc, uart};

    /// Each device in AML, four bytes a word: what a guest is told never changes by accident.
    #[test]
    fn every_device_describes_itself() {
        let devices: [(&str, Box<dyn Aml>); 6] = [
            ("interrupt controllers", Box::new(pic::PicPair::new())),
            ("timer", Box::new(pit::Pit::new())),
            ("clock", Box::new(rtc::Rtc::new(rtc::Config::default(), WorldTime(0)))),
            ("COM1", Box::new(uart::Uart::new(uart::Config::COM1))),
            ("COM2", Box::new(uart::Uart::new(uart::Config::COM2))),
            ("event timer", Box::new(hpet::Hpet::new(hpet::Config::default()))),
        ];
        let mut text = String::new();
        for (name, device) in devices {
            let mut bytes: Vec<u8> = Vec::new();
            device.to_aml_bytes(&mut bytes);
            text += name;
            for (n, byte) in bytes.iter().enumerate() {
                text += if n % 4 == 0 { " " } else { "" };
                text += &format!("{byte:02x}");
            }
            text.push('\n');
        }
        insta::assert_snapshot!(text);
    }
}
