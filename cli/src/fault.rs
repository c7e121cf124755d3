//! Our own fault: a panic becomes words and an exit code, and takes nothing else down with it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};

/// What to do about it.
pub const ADVICE: &str = concat!(
    "This is kjvm's own fault and says nothing of the kernel. Please report it with the scenario, these lines, the same with\n\
     RUST_BACKTRACE=1 set, and the version, kjvm ",
    env!("CARGO_PKG_VERSION"),
    "."
);

thread_local! {
    /// What the last panic of this thread said. None: nobody is prepared for one.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on a panic that somebody is prepared for is not printed by the runtime.
pub fn watch() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let prepared = SAID.with(|said| match said.try_borrow_mut() {
            Ok(mut said) => said.as_mut().map(|said| *said = words(info)).is_some(),
            Err(_) => false,
        });
        if !prepared {
            before(info);
        }
    }));
}

/// Does something. If it panics: where, and with which words.
pub fn guarded<R>(work: impl FnOnce() -> R) -> Result<R, String> {
    let outer = SAID.with(|said| said.replace(Some(String::new())));
    // What the work had in its hands is dropped with it.
    let done = catch_unwind(AssertUnwindSafe(work));
    let said = SAID.with(|said| said.replace(outer));
    done.map_err(|_| said.unwrap_or_default())
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let place =
        info.location().map_or(String::new(), |place| format!(" at {}:{}", place.file(), place.line()));
    let text = format!("kjvm panicked{place}: {}", info.payload_as_str().unwrap_or("without a word"));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured { format!("{text}\n{trace}") } else { text }
}

#[cfg(test)]
#[expect(clippy::panic, reason = "that is what is tested")]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_words_and_the_next_work_is_done() {
        watch();
        let said = guarded(|| panic!("no such {}", "thing")).unwrap_err();
        assert!(said.starts_with("kjvm panicked at ") && said.contains("fault.rs:"), "{said}");
        assert!(said.contains("no such thing"), "{said}");
        assert_eq!(guarded(|| 7), Ok(7));
        let inner = guarded(|| guarded(|| panic!("inner")).unwrap_err()).unwrap();
        assert!(inner.contains("inner"), "{inner}");
    }
}
