//! Who wants to know how far a long piece of work is.

/// Told about long work while it goes on. Every method may be called often, and does nothing unless overridden.
pub trait Progress {
    /// A new phase begins, such as `unpacking linux-source-6.12`. `steps`: how many are expected, if anybody knows.
    fn begin(&self, what: &str, steps: Option<u64>) {
        let _ = (what, steps);
    }

    /// One more step of the phase is done.
    fn step(&self, what: &str) {
        let _ = what;
    }

    /// The phase is over.
    fn end(&self) {}
}

/// Nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {}
