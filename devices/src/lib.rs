//! Every device on the board, as plain data.
//!
//! A device owns no thread, no file descriptor, no lock and no clock. What it can do to the world goes through the [`Context`] of
//! a call; when it wants to be called without being asked, it names a deadline.

pub mod context;
pub mod device;
pub mod disk;
pub mod message;
pub mod pci;
pub mod register;

pub use context::{Context, Event, Gsi, Lines, Observer, PowerRequest, VirtualTime, WorldTime};
pub use device::{Device, Reset};
pub use message::{Delivery, DeliveryMode, Message};
