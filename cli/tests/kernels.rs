//! `kjvm kernels` as a user meets it: what it says, where, and with which exit code.
#![allow(clippy::unwrap_used)] // in what the tests share

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use guest_kernels::cache::{Begun, Cache};
use guest_kernels::manifest::{Kind, Manifest, Origin, file};

/// Runs the command with a cache of its own and no package tools or compilers to find.
fn kjvm(cache: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kjvm"))
        .args(arguments)
        .env("KJVM_CACHE", cache)
        .env("PATH", "/nonexistent")
        .output()
        .unwrap()
}

fn kernel(cache: &Path, name: &str, version: &str) {
    let cache = Cache::at(cache).unwrap();
    let Begun::Pending(pending) = cache.begin(Kind::Built, name, "1").unwrap() else {
        panic!("there already")
    };
    fs::write(pending.path().join(file::BZIMAGE), vec![0; 3_000_000]).unwrap();
    let origin = Origin::Package { package: "p".into(), version: version.into(), sha256: String::new() };
    pending.publish(Manifest::new(name, Kind::Built, "1", "6.12.117-primary", origin)).unwrap();
}

/// Exit code, standard output, standard error; the cache's place made constant, and no control codes anywhere.
fn said(cache: &Path, arguments: &[&str]) -> String {
    let output = kjvm(cache, arguments);
    let text = format!(
        "exit {}\n{}{}",
        output.status.code().unwrap(),
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap()
    );
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "{text:?}");
    text.replace(&cache.display().to_string(), "CACHE")
}

#[test]
fn list_shows_every_kernel_and_its_state() {
    let cache = tempfile::tempdir().unwrap();
    kernel(cache.path(), "primary-6.12", "6.12.117-1");
    kernel(cache.path(), "primary-mine", "1");
    insta::assert_snapshot!(said(cache.path(), &["kernels", "list"]), @r"
    exit 0
    NAME              VERSION     STATE        SIZE     FOR
    primary-6.12      6.12.117-1  ready        2.9 MiB  A: sleeps, in every way that Linux has
    saver-6.12        -           not built    -        B and C: save and restore A; little hardware, boots fast
    primary-6.1       -           not built    -        A, older
    saver-6.1         -           not built    -        B and C, older
    fixed-6.12        -           not built    -        primary-6.12 with our fix of hibernation's order
    fixed-disks-6.12  -           not built    -        fixed-6.12 that flushes every other disk as well
    stock-6.12        -           not fetched  -        the distribution's backport: all but the kexec jump
    stock-6.1         -           not fetched  -        the distribution's kernel: all but the kexec jump
    stock-6.12-cloud  -           not fetched  -        the backport for cloud machines
    stock-6.1-cloud   -           not fetched  -        the distribution's kernel for cloud machines
    primary-mine      1           ready        2.9 MiB  yours
    ");
}

#[test]
fn an_unknown_name_is_wrong_whatever_is_wanted_of_it() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "build", "primry-6.12"]), @r"
    exit 2
      x no kernel is named `primry-6.12`: did you mean `primary-6.12` or `primary-6.1`? All are listed by `kjvm kernels list`.
    ");
    for command in ["path", "rm"] {
        assert_eq!(
            kjvm(cache.path(), &["kernels", command, "primry-6.12"]).status.code(),
            Some(2),
            "{command}"
        );
    }
    // The good name first does not make the command begin.
    assert_eq!(kjvm(cache.path(), &["kernels", "build", "saver-6.12", "zzz"]).status.code(), Some(2));
}

#[test]
fn wrong_arguments_are_explained_and_exit_with_two() {
    let cache = tempfile::tempdir().unwrap();
    for arguments in [
        &["kernels"][..],
        &["kernels", "build"],
        &["kernels", "rm"],
        &["kernels", "rm", "--all", "saver-6.12"],
        &["kernels", "build", "a", "--config", "file"],
        &["kernels", "nonsense"],
        &["-q", "-v", "kernels", "list"],
    ] {
        let output = kjvm(cache.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: kjvm"), "{arguments:?}");
    }
}

#[test]
fn missing_tools_are_the_hosts_lack() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "build", "saver-6.12"]), @r"
    exit 3
      x compiling a kernel needs make, gcc, as, ld, flex, bison, bc, lz4, gzip, cmp, sed and awk: apt-get install make gcc binutils flex bison bc lz4 gzip diffutils sed mawk
    ");
}

#[test]
fn without_the_source_package_it_says_what_else_serves() {
    let cache = tempfile::tempdir().unwrap();
    let tools = tempfile::tempdir().unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for tool in ["make", "gcc", "as", "ld", "flex", "bison", "bc", "lz4", "gzip", "cmp", "sed", "awk"] {
        let real =
            std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|file| file.exists()).unwrap();
        std::os::unix::fs::symlink(real, tools.path().join(tool)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_kjvm"))
        .args(["kernels", "build", "saver-6.12"])
        .env("KJVM_CACHE", cache.path())
        .env("PATH", tools.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @"  x the distribution gives no kernel sources: apt-cache is not on this machine: give a package with --deb FILE, or kernel sources with --source DIR|TAR (for `build`, that is --source FILE)");
}

#[test]
fn a_kernel_that_comes_ready_is_not_compiled() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "build", "stock-6.12"]), @r"
    exit 2
      x stock-6.12 comes ready from the distribution: `kjvm kernels fetch stock-6.12`
    ");
}

#[test]
fn path_prints_the_path_and_nothing_else() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "path", "primary-6.12"]), @r"
    exit 3
      x primary-6.12 is not there: `kjvm kernels build primary-6.12`
    ");
    kernel(cache.path(), "primary-6.12", "6.12.117-1");
    let output = kjvm(cache.path(), &["kernels", "path", "primary-6.12"]);
    let expected = cache.path().join("kernels/primary-6.12/1/bzImage");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{}\n", expected.display()));
    assert!(output.stderr.is_empty());
    let output = kjvm(cache.path(), &["kernels", "path", "--directory", "primary-6.12"]);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap().trim_end(),
        expected.parent().unwrap().to_str().unwrap()
    );
}

#[test]
fn kernels_are_removed_by_name_or_all() {
    let cache = tempfile::tempdir().unwrap();
    for name in ["primary-6.12", "saver-6.12", "saver-mine"] {
        kernel(cache.path(), name, "1");
    }
    insta::assert_snapshot!(said(cache.path(), &["kernels", "rm", "primary-6.12", "primary-6.1"]), @r"
    exit 0
    primary-6.12  removed, 2.9 MiB
    primary-6.1  is not there
    ");
    insta::assert_snapshot!(said(cache.path(), &["kernels", "rm", "--all", "--sources"]), @r"
    exit 0
    saver-6.12  removed, 2.9 MiB
    saver-mine  removed, 2.9 MiB
    ");
    assert!(Cache::at(cache.path()).unwrap().names().unwrap().is_empty());
}

#[test]
fn a_kernel_that_is_compiled_here_is_not_fetched() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "fetch", "saver-6.12"]), @r"
    exit 2
      x saver-6.12 is compiled here: `kjvm kernels build saver-6.12`
    ");
}

#[test]
fn without_apt_fetch_says_what_else_serves() {
    let cache = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "fetch", "stock-6.1"]), @r"
    exit 3
      x apt-cache is not on this machine: give a package with --deb FILE, or kernel sources with --source DIR|TAR
    ");
}

#[test]
fn check_names_what_it_cannot_read() {
    let cache = tempfile::tempdir().unwrap();
    let garbage = cache.path().join("garbage");
    fs::write(&garbage, [0x5a; 4096]).unwrap();
    insta::assert_snapshot!(said(cache.path(), &["kernels", "check", garbage.to_str().unwrap()]), @r"
    exit 2
      x CACHE/garbage: not a Linux kernel for x86 (bzImage): it has no `HdrS` at byte 0x202
    ");
    insta::assert_snapshot!(said(cache.path(), &["kernels", "check", "/nonexistent/vmlinuz"]), @r"
    exit 2
      x cannot read /nonexistent/vmlinuz: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(said(cache.path(), &["kernels", "check", "saver-6.12"]), @r"
    exit 3
      x saver-6.12 is not there: `kjvm kernels build saver-6.12`
    ");
}

#[test]
fn a_cache_that_is_not_there_is_empty() {
    let output = Command::new(env!("CARGO_BIN_EXE_kjvm"))
        .args(["kernels", "list"])
        .env_clear()
        .env("KJVM_CACHE", "/proc/nowhere")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}
