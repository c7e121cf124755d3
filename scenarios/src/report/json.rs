//! A report for programs. `docs/reports.md` says what each field means.

use serde::Serialize;

use super::Report;

/// Counts up when a field changes its meaning or goes away; not when one is added.
pub const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Whole<'a> {
    format: u32,
    kjvm: &'static str,
    #[serde(flatten)]
    report: &'a Report,
}

/// The report, with a newline at its end. The same run gives the same text.
///
/// # Errors
/// None that we know: everything in a report can be written as JSON.
pub fn text(report: &Report) -> serde_json::Result<String> {
    let whole = Whole { format: FORMAT, kjvm: env!("CARGO_PKG_VERSION"), report };
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// What programs rely on: a change here is a change of [`FORMAT`], or adds a field.
    #[test]
    fn the_shape_stays() {
        let text = text(&sample::fails()).unwrap();
        insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    }

    #[test]
    fn what_is_promised_is_at_the_top() {
        let value: serde_json::Value = serde_json::from_str(&text(&sample::passes()).unwrap()).unwrap();
        for key in [
            "format",
            "verdict",
            "scenario",
            "engine",
            "digest",
            "kernels",
            "phases",
            "power_events",
            "checks",
        ] {
            assert!(value.get(key).is_some(), "{key}");
        }
        for key in ["oracle", "clause", "status", "evidence"] {
            assert!(value["checks"][0].get(key).is_some(), "{key}");
        }
    }
}
