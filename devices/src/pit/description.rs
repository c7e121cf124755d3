//! What the guest is told.

use acpi_tables::{Aml, AmlSink};

use super::{INTERRUPT, PORT, PORT_B, Pit};
use crate::description::{IsaInterrupts, isa_device, ports};

impl Aml for Pit {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        isa_device("TIMR", "PNP0100", 0, &[&ports(PORT, 4), &IsaInterrupts(1 << INTERRUPT.0)], sink);
        isa_device("SPKR", "PNP0800", 0, &[&ports(PORT_B, 1)], sink);
    }
}
