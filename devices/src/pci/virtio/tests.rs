//! A driver that does what Linux's does: finds the structures by their capabilities, negotiates, sets queues up, sends requests.

mod cache;
mod driver;
mod hostile;
mod probe;
mod requests;
