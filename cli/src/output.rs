//! How we speak: on standard error in plain lines, on a terminal with a little more.

use std::io::IsTerminal;
use std::path::Path;

use scenarios::report::file;
use scenarios::report::terminal::Look;
use serde::Serialize;
use tracing::level_filters::LevelFilter;

use crate::failure::{Code, Failure};

/// Sets up log lines and error reports.
pub fn set_up(level: LevelFilter) {
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colour())
        .without_time()
        .with_target(false)
        .init();
    let theme = if colour() { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::none() };
    // Fails only if it was set before.
    let _ = miette::set_hook(Box::new(move |_| {
        // Paths and commands in messages are there to be copied: never broken.
        Box::new(miette::GraphicalReportHandler::new_themed(theme.clone()).with_wrap_lines(false))
    }));
}

/// Whether lines may be redrawn: on a terminal, unless it is a continuous-integration log that looks like one.
pub fn live() -> bool {
    std::io::stderr().is_terminal()
        && !is_set("CI")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn colour() -> bool {
    live() && !is_set("NO_COLOR")
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Writes a report, as [`write_whole`] does.
///
/// # Errors
/// Those of the host.
pub fn write_json(path: &Path, report: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(report).map_err(|error| Failure::new(Code::Ours, error))?;
    write_whole(path, (text + "\n").as_bytes())
}

/// Writes a file, and its directory if need be. Under its final name there is a whole file, or what was there before.
///
/// # Errors
/// Those of the host.
pub fn write_whole(path: &Path, contents: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(Code::Host, format!("{}: {error}", path.display()));
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(failed)?;
    file::write_whole(path, contents).map_err(failed)
}

/// How standard output looks. What is no terminal has lines of one width and no colours.
pub fn look() -> Look {
    let verbose = LevelFilter::current() >= LevelFilter::DEBUG;
    let is_terminal = std::io::stdout().is_terminal() && !is_set("CI");
    let width =
        is_terminal.then(terminal_size::terminal_size).flatten().map(|(width, _)| usize::from(width.0));
    let colour =
        is_terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let usual = Look::default();
    // On a wide screen a line is easier to follow if it is not as wide.
    Look { width: width.map_or(usual.width, |width| width.clamp(60, 140)), colour, verbose }
}

/// A number of bytes in words.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 || value >= 100.0 { format!("{value:.0} {name}") } else { format!("{value:.1} {name}") }
}

/// Seconds in words.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.round();
    if whole >= 60.0 {
        format!("{} min {:02} s", (whole / 60.0).floor(), whole % 60.0)
    } else {
        format!("{seconds:.1} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_read_well() {
        assert_eq!((size(0), size(1023), size(1536)), ("0 B".into(), "1023 B".into(), "1.5 KiB".into()));
        assert_eq!((size(3_790_000), size(5 << 30)), ("3.6 MiB".into(), "5.0 GiB".into()));
        assert_eq!(
            (duration(0.34), duration(59.4), duration(59.9)),
            ("0.3 s".into(), "59.4 s".into(), "1 min 00 s".into())
        );
        assert_eq!(duration(185.0), "3 min 05 s");
    }
}
