//! From sources to a kernel in the cache, with a tree that compiles in no time.
#![allow(clippy::unwrap_used)] // in what the tests share

mod common;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use guest_kernels::build::{BuildError, Outcome, Request, build};
use guest_kernels::cache::{Cache, Entry};
use guest_kernels::compile::CompileError;
use guest_kernels::host::{Host, HostError};
use guest_kernels::manifest::{FILE_NAME, Origin};
use guest_kernels::progress::Silent;
use guest_kernels::source::SourceError;
use tempfile::TempDir;

/// A cache, a tree and a fragment, each in its own directory.
struct Bench {
    root: TempDir,
    cache: Cache,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        common::kernel_tree(&root.path().join("tree"));
        fs::write(root.path().join("fragment"), "CONFIG_KNOWN=y\n# CONFIG_OFF is not set\n").unwrap();
        let cache = Cache::at(&root.path().join("cache")).unwrap();
        Self { root, cache }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn request(&self, source: &str, config: &str) -> Request {
        Request {
            name: "mine".into(),
            source: Some(self.path(source)),
            config: Some(self.path(config)),
            ..Request::default()
        }
    }

    fn build(&self, request: &Request) -> Result<Outcome, BuildError> {
        build(&self.cache, &Host::here(), request, &Silent)
    }

    fn built(&self) -> Entry {
        match self.build(&self.request("tree", "fragment")).unwrap() {
            Outcome::Built(entry) => entry,
            Outcome::Already(entry) => panic!("{} was there", entry.path.display()),
        }
    }

    /// The message, without the names of temporary directories.
    fn message(&self, request: &Request) -> String {
        self.plain(&self.build(request).unwrap_err().to_string())
    }

    fn plain(&self, message: &str) -> String {
        let root = fs::canonicalize(self.root.path()).unwrap();
        message.replace(&root.display().to_string(), "ROOT")
    }

    fn tar(&self) -> PathBuf {
        let path = self.path("linux.tar");
        let mut builder = tar::Builder::new(File::create(&path).unwrap());
        builder.append_dir_all("linux-6.99", self.path("tree")).unwrap();
        builder.finish().unwrap();
        path
    }

    /// A source package as Debian makes them: the archive inside another.
    fn package(&self) {
        let tar = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            let mut builder = tar::Builder::new(Vec::new());
            builder.append_data(&mut header, path, bytes).unwrap();
            builder.into_inner().unwrap()
        };
        let control = "Package: linux-source-6.99\nVersion: 6.99.0-1\nArchitecture: all\n";
        let mut deb = b"!<arch>\n".to_vec();
        for (name, bytes) in [
            ("debian-binary", b"2.0\n".to_vec()),
            ("control.tar", tar("./control", control.as_bytes())),
            ("data.tar", tar("./usr/src/linux-source-6.99.tar", &fs::read(self.tar()).unwrap())),
        ] {
            deb.extend(
                format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).bytes(),
            );
            deb.extend(&bytes);
        }
        fs::write(self.path("linux-source.deb"), deb).unwrap();
    }

    /// Neither a kernel nor anything half-made is left.
    fn assert_nothing_left(&self) {
        assert!(self.cache.find("mine").unwrap().is_empty());
        let left: Vec<_> = fs::read_dir(self.cache.kernel_dir("mine")).into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_tree_becomes_a_kernel_and_the_second_time_it_is_there() {
    let bench = Bench::new();
    let entry = bench.built();
    assert_eq!(entry.manifest.release, "6.99.0-test");
    assert!(matches!(entry.manifest.origin, Origin::Directory { .. }));
    assert_eq!(entry.manifest.fragments.len(), 1);
    assert!(entry.manifest.tools.as_ref().unwrap().compiler.starts_with("gcc"));
    let files: Vec<&String> = entry.manifest.files.keys().collect();
    assert_eq!(files, ["System.map", "bzImage", "config"], "objects or logs are left");
    let again = bench.build(&bench.request("tree", "fragment")).unwrap();
    assert!(matches!(again, Outcome::Already(found) if found.path == entry.path));
}

#[test]
fn a_change_of_source_or_configuration_is_another_kernel() {
    let bench = Bench::new();
    let first = bench.built().manifest.key;
    fs::write(bench.path("fragment"), "# Another comment only.\nCONFIG_KNOWN=y\n# CONFIG_OFF is not set\n")
        .unwrap();
    assert!(matches!(bench.build(&bench.request("tree", "fragment")).unwrap(), Outcome::Already(_)));
    fs::write(bench.path("fragment"), "CONFIG_KNOWN=y\n").unwrap();
    let second = bench.built().manifest.key;
    fs::write(bench.path("tree/kernel/new.c"), "int new;\n").unwrap();
    let third = bench.built().manifest.key;
    assert!(first != second && second != third && first != third);
}

const PATCH: &str = "--- a/Makefile\n+++ b/Makefile\n@@ -1,3 +1,3 @@\n VERSION = 6\n-PATCHLEVEL = 99\n+PATCHLEVEL = 100\n SUBLEVEL = 0\n";

#[test]
fn a_patched_kernel_is_another_one_and_the_sources_stay_as_they_were() {
    let bench = Bench::new();
    let plain = bench.built();
    fs::write(bench.path("a.patch"), PATCH).unwrap();
    let request = Request { patches: vec![bench.path("a.patch")], ..bench.request("tree", "fragment") };
    let Outcome::Built(entry) = bench.build(&request).unwrap() else { panic!("it was there") };
    assert_ne!(entry.manifest.key, plain.manifest.key);
    assert_eq!(entry.manifest.patches.len(), 1);
    let image = fs::read_to_string(entry.bzimage()).unwrap();
    assert!(image.starts_with("image of 6.100\n"), "{image}");
    assert!(fs::read_to_string(bench.path("tree/Makefile")).unwrap().contains("PATCHLEVEL = 99\n"));
    let files: Vec<&String> = entry.manifest.files.keys().collect();
    assert_eq!(files, ["System.map", "bzImage", "config"], "the patched tree is left");
    assert!(matches!(bench.build(&request).unwrap(), Outcome::Already(found) if found.path == entry.path));
    assert!(
        matches!(bench.build(&bench.request("tree", "fragment")).unwrap(), Outcome::Already(found) if found.path == plain.path)
    );
}

#[test]
fn a_patch_that_does_not_apply_is_named_and_nothing_is_built() {
    let bench = Bench::new();
    fs::write(bench.path("a.patch"), PATCH.replace("99", "98")).unwrap();
    let request = Request { patches: vec![bench.path("a.patch")], ..bench.request("tree", "fragment") };
    insta::assert_snapshot!(bench.message(&request), @"mine cannot be built: ROOT/a.patch does not apply to Makefile: error applying hunk #1. These sources are not those it was made for: take others with --source, or adapt the patch");
    let absent = Request { patches: vec![bench.path("absent")], ..bench.request("tree", "fragment") };
    insta::assert_snapshot!(bench.message(&absent), @"mine cannot be built: cannot read ROOT/absent: No such file or directory (os error 2)");
    bench.assert_nothing_left();
    // A twin's own patch, of sources that have nothing of what it mends.
    let twin = Request { name: "fixed-6.12".into(), ..bench.request("tree", "fragment") };
    insta::assert_snapshot!(bench.message(&twin), @"fixed-6.12 cannot be built: swsusp-order.patch does not apply to kernel/power/swap.c: there is no such file. These sources are not those it was made for: take others with --source, or adapt the patch");
}

#[test]
fn nothing_of_the_users_environment_reaches_the_compiler() {
    let bench = Bench::new();
    let image = fs::read_to_string(bench.built().bzimage()).unwrap();
    insta::assert_snapshot!(image, @r"
    image of 6.99
    ARCH=x86_64
    KBUILD_BUILD_HOST=kjvm
    KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970
    KBUILD_BUILD_USER=kjvm
    KBUILD_BUILD_VERSION=1
    KCONFIG_NOTIMESTAMP=1
    LC_ALL=C
    SOURCE_DATE_EPOCH=0
    ");
}

#[test]
fn an_archive_is_unpacked_once() {
    let bench = Bench::new();
    bench.tar();
    let request = bench.request("linux.tar", "fragment");
    let Outcome::Built(entry) = bench.build(&request).unwrap() else { panic!("it was there") };
    assert!(matches!(entry.manifest.origin, Origin::Archive { .. }));
    assert!(matches!(bench.build(&request).unwrap(), Outcome::Already(_)));
    assert_eq!(fs::read_dir(bench.cache.sources()).unwrap().count(), 1);
}

#[test]
fn a_source_package_serves_as_well() {
    let bench = Bench::new();
    bench.package();
    let Outcome::Built(entry) = bench.build(&bench.request("linux-source.deb", "fragment")).unwrap() else {
        panic!("it was there")
    };
    assert_eq!(entry.manifest.release, "6.99.0-test");
    let deb = fs::read(bench.path("linux-source.deb")).unwrap();
    fs::write(bench.path("linux-source.deb"), &deb[..deb.len() - 4000]).unwrap();
    let message = bench.message(&bench.request("linux-source.deb", "fragment"));
    assert!(message.starts_with("ROOT/linux-source.deb is cut short: data.tar needs "), "{message}");
}

#[test]
fn a_whole_configuration_is_taken_as_it_is() {
    let bench = Bench::new();
    fs::write(bench.path("whole"), "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_X=m\n")
        .unwrap();
    let Outcome::Built(entry) = bench.build(&bench.request("tree", "whole")).unwrap() else {
        panic!("it was there")
    };
    let config = fs::read_to_string(entry.file("config")).unwrap();
    assert!(config.contains("CONFIG_X=m\n") && config.contains("CONFIG_DEFAULT=y\n"));
}

#[test]
fn a_fragment_that_does_not_hold_is_an_error() {
    let bench = Bench::new();
    fs::write(
        bench.path("fragment"),
        "CONFIG_KNOWN=y\nCONFIG_CANNOT=y\nCONFIG_TYPPO=y\nCONFIG_NEW=y # optional: 7.0\n",
    )
    .unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("tree", "fragment")), @r"
    mine could not be built: the kernel's configuration does not hold what was asked:
      ROOT/fragment:2: CONFIG_CANNOT should be y and is not set: see its dependencies in the kernel's Kconfig
      ROOT/fragment:3: CONFIG_TYPPO does not exist in this kernel: correct it, or end the line in `# optional: REASON`
    ");
    bench.assert_nothing_left();
}

#[test]
fn a_compiler_error_is_quoted_and_the_log_kept() {
    let bench = Bench::new();
    fs::write(bench.path("tree/broken"), "").unwrap();
    let error = bench.build(&bench.request("tree", "fragment")).unwrap_err();
    let BuildError::Compile { source: CompileError::Make { log, .. }, .. } = &error else {
        panic!("{error}")
    };
    let text = fs::read_to_string(log).unwrap();
    assert!(text.contains("CC      kernel/fork.o") && text.contains("error: expected ';'"), "{text}");
    let message =
        bench.plain(&error.to_string()).replace(log.file_name().unwrap().to_str().unwrap(), "mine-KEY.log");
    insta::assert_snapshot!(message, @r"
    mine could not be built: make bzImage fails:
    kernel/fork.c:7:1: error: expected ';'
    the whole log: ROOT/cache/logs/mine-KEY.log
    ");
    bench.assert_nothing_left();
}

#[test]
fn a_make_that_somebody_ended_is_no_fault_of_the_sources() {
    let bench = Bench::new();
    fs::write(bench.path("tree/ended"), "").unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("tree", "fragment")), @"mine could not be built: make bzImage was ended by signal 15, which nothing in the sources does: try again, with more free memory if it is 9");
    bench.assert_nothing_left();
}

#[test]
fn what_is_no_kernel_tree_is_refused() {
    let bench = Bench::new();
    fs::create_dir(bench.path("empty")).unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("empty", "fragment")), @"ROOT/empty is no kernel tree: there is no Makefile in it; give the directory, or a tar archive of it, that has the kernel's top Makefile");
    insta::assert_snapshot!(bench.message(&bench.request("absent", "fragment")), @"cannot read ROOT/absent: No such file or directory (os error 2)");
    fs::write(bench.path("garbage"), [0x5a; 4096]).unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("garbage", "fragment")), @"ROOT/garbage is no kernel tree: it is neither a directory nor a tar archive; give the directory, or a tar archive of it, that has the kernel's top Makefile");
    let mut builder = tar::Builder::new(File::create(bench.path("other.tar")).unwrap());
    builder.append_path_with_name(bench.path("fragment"), "some/file").unwrap();
    builder.finish().unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("other.tar", "fragment")), @"ROOT/other.tar is no kernel tree: there is no Makefile in it; give the directory, or a tar archive of it, that has the kernel's top Makefile");
    bench.assert_nothing_left();
    assert_eq!(fs::read_dir(bench.cache.sources()).unwrap().count(), 0);
}

#[test]
fn an_archive_cut_short_is_refused() {
    let bench = Bench::new();
    let path = bench.tar();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..1500]).unwrap();
    let error = bench.build(&bench.request("linux.tar", "fragment")).unwrap_err();
    assert!(matches!(&error, BuildError::Source(SourceError::Unpack { .. })), "{error}");
    bench.assert_nothing_left();
    assert_eq!(fs::read_dir(bench.cache.sources()).unwrap().count(), 0);
}

#[test]
fn a_tree_that_was_built_in_is_refused() {
    let bench = Bench::new();
    fs::write(bench.path("tree/.config"), "").unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("tree", "fragment")), @"mine could not be built: ROOT/tree has been built in (there is a .config in it): run `make mrproper` there, or give a clean copy");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.message(&bench.request("tree", "absent")).replace(&bench.root.path().display().to_string(), "ROOT"), @"mine could not be built: cannot read ROOT/absent: No such file or directory (os error 2)");
    fs::write(bench.path("bad"), "CONFIG_A=y\nSMP on please\n").unwrap();
    insta::assert_snapshot!(bench.message(&bench.request("tree", "bad")).replace(&bench.root.path().display().to_string(), "ROOT"), @"mine could not be built: ROOT/bad:2: `SMP on please` is not a line of a kernel configuration (CONFIG_X=y, # CONFIG_X is not set, or a comment)");
}

#[test]
fn too_little_room_is_found_before_anything_is_done() {
    let bench = Bench::new();
    let host = Host { room: |_| Ok(10 << 20), ..Host::here() };
    let error = build(&bench.cache, &host, &bench.request("tree", "fragment"), &Silent).unwrap_err();
    assert!(matches!(error, BuildError::Host(HostError::NoRoom { free: 10, .. })), "{error}");
    bench.assert_nothing_left();
}

#[test]
fn a_missing_tool_is_found_before_anything_is_done() {
    let bench = Bench::new();
    let host = Host { search: bench.path("nowhere").into(), ..Host::here() };
    let error = build(&bench.cache, &host, &bench.request("tree", "fragment"), &Silent).unwrap_err();
    assert!(matches!(error, BuildError::Host(HostError::Missing { .. })), "{error}");
    assert!(!bench.cache.root().exists());
}

#[test]
fn names_are_checked_first() {
    let bench = Bench::new();
    let named = |name: &str, source: Option<&str>| {
        let source = source.map(|source| bench.path(source));
        bench.build(&Request { name: name.into(), source, ..Request::default() }).unwrap_err().to_string()
    };
    insta::assert_snapshot!(named("primary-6.13", None), @"no kernel is named `primary-6.13`: did you mean `primary-6.1` or `primary-6.12`? All are listed by `kjvm kernels list`.");
    insta::assert_snapshot!(named("stock-6.12", None), @"stock-6.12 comes ready from the distribution: `kjvm kernels fetch stock-6.12`");
    insta::assert_snapshot!(named("mine", Some("tree")), @"`mine` says neither primary nor saver: call it `primary-...` or `saver-...`, or give --config FILE");
    insta::assert_snapshot!(named("primary-../mine", Some("tree")), @"`primary-../mine` cannot name a kernel: use letters, digits, `.`, `-`, `_` and `+`, beginning with a letter or digit");
}

/// The helper that the next test kills: builds a slow tree in a process of its own.
#[test]
#[ignore = "run by a_killed_build_leaves_nothing_finished"]
fn helper_that_is_killed() {
    let Some(root) = std::env::var_os("KJVM_TEST_BENCH") else { return };
    let root = Path::new(&root);
    let cache = Cache::at(&root.join("cache")).unwrap();
    let request = Request {
        name: "mine".into(),
        source: Some(root.join("tree")),
        config: Some(root.join("fragment")),
        ..Request::default()
    };
    let _ = build(&cache, &Host::here(), &request, &Silent);
}

#[test]
fn a_killed_build_leaves_nothing_finished() {
    let bench = Bench::new();
    fs::write(bench.path("tree/slow"), "").unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "helper_that_is_killed"])
        .env("KJVM_TEST_BENCH", bench.root.path())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while !bench.path("tree/began").exists() {
        assert!(Instant::now() < deadline, "the build did not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(bench.cache.find("mine").unwrap().is_empty());
    let left = fs::read_dir(bench.cache.kernel_dir("mine")).unwrap().next().unwrap().unwrap();
    assert!(left.file_name().to_str().unwrap().starts_with('.'));
    assert!(!left.path().join(FILE_NAME).exists());
}
