//! The book: its pages are all in the table of contents, their links lead somewhere, and every command in them does what a reader expects.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Commands that are not run here, each with the test that does what it does.
const ELSEWHERE: &[(&str, &str)] = &[
    ("./first-run", "the same as `kjvm run scenarios/power-lost-in-s3.toml`, after `./setup`"),
    ("./first-catch", "cli/tests/fuzz.rs explores, and scenarios/tests/explore_ways.rs a stock kernel"),
    ("./test", "this is it"),
    ("kjvm kernels build mine", "cli/tests/kernels.rs builds a tree"),
    ("kjvm kernels build primary-6.12 saver-6.12", "./test begins with it"),
    ("kjvm kernels fetch stock-6.12", "./test begins with it"),
    ("kjvm run scenarios/ ", "cli/tests/library.rs runs each of them"),
    ("kjvm boot", "cli/tests/boot.rs: it does not end by itself"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.push(root().join("README.md"));
    pages.sort();
    pages
}

/// Lines of a page that are commands: in a block of code, beginning with `$` or with a program of ours.
fn commands(page: &str) -> Vec<String> {
    let mut fenced = false;
    let mut commands = Vec::new();
    for line in page.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let Some(code) = (if fenced { Some(line) } else { line.strip_prefix("    ") }) else { continue };
        let code = code.strip_prefix("$ ").unwrap_or(code);
        if ["kjvm ", "./first-run", "./first-catch", "./test"].iter().any(|start| code.starts_with(start)) {
            // What stands behind three spaces is a remark.
            commands.push(code.split("   ").next().unwrap_or(code).trim().to_owned());
        }
    }
    commands
}

/// Words as a shell makes them: quotes keep spaces together.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in command.chars() {
        match (quote, letter) {
            (None, '"' | '\'') => quote = Some(letter),
            (Some(open), letter) if open == letter => quote = None,
            (None, ' ') => words.push(String::new()),
            (_, letter) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A directory as a reader may have it: the scenarios, a kernel, a disk.
fn workplace() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink(root().join("scenarios"), at("scenarios")).unwrap();
    let kernel = guest_kernels::provision::kernel("primary-6.12", &|_| {}).unwrap();
    fs::copy(&kernel.bzimage, at("bzImage")).unwrap();
    fs::write(at("initrd"), &kernel.initrd).unwrap();
    fs::copy(root().join("scenarios/s3.toml"), at("my.toml")).unwrap();
    // A swap partition without an image, as `mkswap` leaves it.
    let mut swap = vec![0; 1 << 20];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(at("disk.raw"), swap).unwrap();
    directory
}

#[test]
fn every_command_does_what_it_says() {
    let workplace = workplace();
    let mut seen = BTreeSet::new();
    let mut failed = Vec::new();
    for page in pages() {
        for command in commands(&fs::read_to_string(&page).unwrap()) {
            let elsewhere = |(start, _): &&(&str, &str)| format!("{command} ").starts_with(start);
            if ELSEWHERE.iter().find(elsewhere).is_some() || !seen.insert(command.clone()) {
                continue;
            }
            let output = Command::new(env!("CARGO_BIN_EXE_kjvm"))
                .args(&words(&command)[1..])
                .current_dir(workplace.path())
                .output()
                .unwrap();
            // Exploration finds what Linux does not order, and says so with 1.
            let found = command.starts_with("kjvm fuzz") && output.status.code() == Some(1);
            if !output.status.success() && !found {
                let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let (out, error) = (said(&output.stdout), said(&output.stderr));
                failed.push(format!("{}: {command}\n{out}\n{error}", page.display()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
    assert!(seen.len() > 10, "the commands were not found: {seen:?}");
}

#[test]
fn every_page_is_in_the_table_of_contents_and_links_lead_somewhere() {
    let summary = fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let mut missing = Vec::new();
    for page in pages() {
        let name = page.file_name().unwrap().to_string_lossy().into_owned();
        if !["SUMMARY.md", "README.md"].contains(&&*name) && !summary.contains(&format!("({name})")) {
            missing.push(format!("{name} is not in SUMMARY.md"));
        }
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or(link);
            let there = file.is_empty() || file.contains("://") || page.parent().unwrap().join(file).exists();
            if !there {
                missing.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn commands_are_found_in_a_page() {
    let page = "text kjvm run\n\n    kjvm run a.toml   a remark\n\n```console\n$ kjvm explain O5\nPASS\n```\n    else\n";
    assert_eq!(commands(page), ["kjvm run a.toml", "kjvm explain O5"]);
    assert_eq!(words("kjvm run --set \"a=b c\""), ["kjvm", "run", "--set", "a=b c"]);
}
