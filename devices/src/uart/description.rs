//! What the guest is told.

use acpi_tables::{Aml, AmlSink};

use super::{PORTS, Uart};
use crate::description::{IsaInterrupts, isa_device, ports};

impl Aml for Uart {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        let config = self.config;
        let interrupt = IsaInterrupts(1u16.checked_shl(config.interrupt.0.into()).unwrap_or(0));
        let number = config.number.saturating_add(1);
        isa_device(
            &format!("COM{}", number % 10),
            "PNP0501",
            number,
            &[&ports(config.port, PORTS), &interrupt],
            sink,
        );
    }
}
