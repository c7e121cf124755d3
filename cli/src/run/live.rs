//! What happens in a run, said as it happens.

use scenarios::report::{Phase, PowerHappening, terminal};
use scenarios::run::Listener;

use super::jobs::Page;

/// Says what happens, unless it is to be quiet.
pub struct Live<'a> {
    page: &'a Page,
    quiet: bool,
    before: Option<Phase>,
}

impl<'a> Live<'a> {
    /// On this page.
    pub fn new(page: &'a Page, quiet: bool) -> Self {
        Self { page, quiet, before: None }
    }
}

impl Listener for Live<'_> {
    fn phase(&mut self, phase: &Phase) {
        if !self.quiet {
            self.page.line(terminal::phase(phase, self.before.as_ref()));
        }
        self.before = Some(phase.clone());
    }

    fn power(&mut self, happening: &PowerHappening) {
        if !self.quiet {
            self.page.line(terminal::power(happening));
        }
    }
}
