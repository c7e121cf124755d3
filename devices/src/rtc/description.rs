//! What the guest is told.

use acpi_tables::{Aml, AmlSink};

use super::{INTERRUPT, PORT, PORTS, Rtc};
use crate::description::{IsaInterrupts, isa_device, ports};

impl Aml for Rtc {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        isa_device("RTC_", "PNP0B00", 0, &[&ports(PORT, PORTS), &IsaInterrupts(1 << INTERRUPT.0)], sink);
    }
}
