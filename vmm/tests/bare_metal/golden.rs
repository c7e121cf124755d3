//! What has to come out.

use std::path::Path;

use crate::Run;

/// Compares with `guests/NAME.snap`.
pub fn assert(name: &str, run: &Run) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("guests");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, run.to_string()));
}

/// The same, but for lines that begin so.
pub fn assert_but_for(name: &str, run: &Run, differences: &[(&str, &str)]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bare_metal/guests/{name}.snap"));
    let snapshot = std::fs::read_to_string(path).unwrap();
    let (_, golden) = snapshot.split_once("\n---\n").unwrap();
    let compared = |text: &str| -> Vec<String> {
        let differs = |line: &&str| !differences.iter().any(|(start, _)| line.starts_with(start));
        text.trim().lines().filter(differs).map(str::to_owned).collect()
    };
    let (expected, seen) = (compared(golden), compared(&run.to_string()));
    let lines = expected.len().max(seen.len());
    let wrong: Vec<String> = (0..lines)
        .map(|line| (expected.get(line), seen.get(line)))
        .filter(|(expected, seen)| expected != seen)
        .map(|(expected, seen)| {
            let show = |line: Option<&String>| line.cloned().unwrap_or_default();
            format!("- {}\n+ {}", show(expected), show(seen))
        })
        .collect();
    assert!(wrong.is_empty(), "{name}: expected (-) and seen (+)\n{}", wrong.join("\n"));
}
