//! Segments, descriptors and the checks when they are used (SDM 3A chapters 3 and 5).

mod descriptor;
mod load;
mod tables;
mod task_state;

pub(crate) use descriptor::{Descriptor, Gate};

/// Requested privilege level of a selector.
pub(crate) const fn rpl(selector: u16) -> u8 {
    (selector & 3) as u8
}

/// Whether a selector is null, whatever its RPL.
pub(crate) const fn is_null(selector: u16) -> bool {
    selector & 0xfffc == 0
}

/// A selector with another RPL.
pub(crate) const fn with_rpl(selector: u16, rpl: u8) -> u16 {
    selector & 0xfffc | rpl as u16
}
