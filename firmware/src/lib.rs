//! What firmware leaves in memory: tables, memory map, boot protocol, register values.
//!
//! Pure functions: configuration in, bytes and registers out. Nothing here runs in the guest, and nothing here knows a device:
//! where devices are is told by [`Config`], and what a device says about itself in AML is handed to [`tables`].
//!
//! The order of things: [`tables`] lays out what every operating system finds, then one of the functions of [`boot`] adds a kernel
//! and says with which registers it is entered. After a wake from S3 nothing is written at all: [`reset::wake`] gives the registers
//! for the guest's own waking vector.

pub mod boot;
pub mod config;
pub mod layout;
pub mod memory_map;
pub mod mtrr;
pub mod registers;
pub mod reset;

mod acpi;
mod bios_data;
mod blob;
mod smbios;
mod tables;

#[cfg(test)]
mod fixture;

pub use blob::Blob;
pub use boot::Boot;
pub use config::{Config, ConfigError};
pub use memory_map::MemoryMap;
pub use mtrr::Mtrrs;
pub use registers::Registers;
pub use tables::{Tables, tables};
