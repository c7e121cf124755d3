//! How lines look: their width, and colours where there are some.

use agent_protocol::message::Role;
use anstyle::{AnsiColor, Style};

use crate::report::Verdict;

/// What a terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns.
    pub width: usize,
    /// Whether there are colours.
    pub colour: bool,
    /// Whether all evidence is shown.
    pub verbose: bool,
}

impl Default for Look {
    /// What is no terminal.
    fn default() -> Self {
        Self { width: 120, colour: false, verbose: false }
    }
}

impl Look {
    /// A text in a colour, if there are some. Control codes that stand in it do nothing.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        let text: String =
            text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect();
        if !self.colour {
            return text;
        }
        let style = paint.style();
        format!("{style}{text}{style:#}")
    }
}

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// What is read first.
    Strong,
    /// What is read last.
    Soft,
    /// All well.
    Good,
    /// A failure.
    Bad,
    /// Neither.
    Care,
    /// What happened to the power.
    Power,
    /// Kernel A, B, C.
    Kernel(u8),
}

impl Paint {
    /// Of a verdict.
    pub fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Pass => Self::Good,
            Verdict::Fail => Self::Bad,
            Verdict::Skipped | Verdict::Broken => Self::Care,
        }
    }

    /// Of a kernel.
    pub fn of_role(role: Role) -> Self {
        Self::Kernel(match role {
            Role::Primary => 0,
            Role::Saver => 1,
            Role::Restorer => 2,
        })
    }

    fn style(self) -> Style {
        let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
        match self {
            Self::Strong => Style::new().bold(),
            Self::Soft => Style::new().dimmed(),
            Self::Good => colour(AnsiColor::Green).bold(),
            Self::Bad => colour(AnsiColor::Red).bold(),
            Self::Care => colour(AnsiColor::Yellow).bold(),
            Self::Power => colour(AnsiColor::Red),
            Self::Kernel(0) => colour(AnsiColor::Blue).bold(),
            Self::Kernel(1) => colour(AnsiColor::Yellow).bold(),
            Self::Kernel(_) => colour(AnsiColor::Cyan).bold(),
        }
    }
}
