//! What the guest is told.

use acpi_tables::{Aml, AmlSink};

use super::{CASCADE, EDGE_LEVEL, FIRST, PicPair, SECOND};
use crate::description::{IsaInterrupts, isa_device, ports};

impl Aml for PicPair {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        isa_device(
            "PIC_",
            "PNP0000",
            0,
            &[&ports(FIRST, 2), &ports(SECOND, 2), &ports(EDGE_LEVEL, 2), &IsaInterrupts(1 << CASCADE)],
            sink,
        );
    }
}
