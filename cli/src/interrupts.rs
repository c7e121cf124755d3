//! Ctrl-C and requests to end: noticed, so that what is under way ends in order. The only unsafe code here.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

static CAME: AtomicBool = AtomicBool::new(false);

extern "C" fn interrupt(_: nix::libc::c_int) {
    CAME.store(true, Ordering::Relaxed);
}

/// From now on the first of them is noticed; the second ends the process.
pub fn catch() {
    let action = SigAction::new(SigHandler::Handler(interrupt), SaFlags::SA_RESETHAND, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler stores to an atomic and does nothing else, which is safe in a signal handler.
        let _ = unsafe { sigaction(signal, &action) };
    }
}

/// Whether one came.
pub fn came() -> bool {
    CAME.load(Ordering::Relaxed)
}
