//! What the guest is told: the sleep states there are, and the ports in use.

use acpi_tables::{Aml, AmlSink, aml};

use super::{AcpiPm, FIRST_PORT, PORTS, SleepState};
use crate::description::{isa_device, ports};

/// `\_Sx`: SLP_TYP for PM1a and PM1b, and two reserved elements (ACPI 7.4.2).
fn sleep_state(name: &str, slp_typ: u8, sink: &mut dyn AmlSink) {
    let package = aml::Package::new(vec![&slp_typ, &slp_typ, &0u8, &0u8]);
    aml::Name::new(name.into(), &package).to_aml_bytes(sink);
}

impl Aml for AcpiPm {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sleep_state("\\_S0_", SleepState::WORKING, sink);
        for (name, state) in
            [("\\_S3_", SleepState::S3), ("\\_S4_", SleepState::S4), ("\\_S5_", SleepState::S5)]
        {
            if self.config.has(state) {
                sleep_state(name, state.slp_typ(), sink);
            }
        }
        // Motherboard resources: nothing else may be put there.
        isa_device("PMIO", "PNP0C02", 1, &[&ports(FIRST_PORT, PORTS)], sink);
    }
}
