//! Every device on the board, as plain data.
//!
//! A device owns no thread, no file descriptor, no lock and no clock. What it can do to the world goes through the [`Context`] of
//! a call; when it wants to be called without being asked, it names a deadline.

pub mod acpi_pm;
#[cfg(test)]
mod bench;
pub mod context;
pub mod debug_port;
mod description;
pub mod device;
pub mod disk;
pub mod event;
pub mod hpet;
pub mod ioapic;
pub mod message;
mod oscillator;
pub mod pci;
pub mod pic;
pub mod pit;
pub mod post;
pub mod register;
pub mod reset_port;
pub mod rtc;
pub mod uart;

pub use context::{Context, Gsi, Lines, PowerRequest, VirtualTime, WorldTime};
pub use device::{Device, Reset};
pub use event::{DiskAction, DiskEvent, DiskStep, Event, Ipi, Moment, Observer, PowerEvent, Traffic};
pub use message::{Delivery, DeliveryMode, Message};
