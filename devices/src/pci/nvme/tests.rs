//! A driver that does what Linux's does: starts the controller, creates queues, reads and writes.

mod cache;
mod driver;
mod hostile;
mod requests;
mod start;
