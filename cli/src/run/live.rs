//! What happens in a run, said as it happens.

use scenarios::Report;
use scenarios::report::terminal::Look;
use scenarios::report::{KernelUsed, Phase, PowerHappening, terminal};
use scenarios::run::Listener;

use super::jobs::Page;

/// Says what happens, unless it is to be quiet.
pub struct Live<'a> {
    page: &'a Page,
    look: Look,
    quiet: bool,
    kernels: Vec<KernelUsed>,
    before: Option<Phase>,
}

impl<'a> Live<'a> {
    /// On this page.
    pub fn new(page: &'a Page, look: Look, quiet: bool) -> Self {
        Self { page, look, quiet, kernels: Vec::new(), before: None }
    }
}

impl Listener for Live<'_> {
    fn begun(&mut self, report: &Report) {
        self.kernels.clone_from(&report.kernels);
        if !self.quiet {
            self.page.line(terminal::head(report, self.look));
        }
    }

    fn begins(&mut self, boot: u32, what: &str) {
        if !self.quiet {
            self.page.under_way(terminal::under_way(boot, what));
        }
    }

    fn phase(&mut self, phase: &Phase) {
        if !self.quiet {
            self.page.line(terminal::phase(phase, self.before.as_ref(), &self.kernels, self.look));
        }
        self.before = Some(phase.clone());
    }

    fn power(&mut self, happening: &PowerHappening) {
        if !self.quiet {
            self.page.line(terminal::power(happening, self.look));
        }
    }
}
