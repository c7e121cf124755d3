//! A deterministic software x86-64 processor.
