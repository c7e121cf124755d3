//! The machine: board, engines, clock, power, digests.
