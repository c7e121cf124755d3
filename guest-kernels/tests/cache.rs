//! The cache: what is published is whole, what is interrupted is nothing.
#![allow(clippy::unwrap_used)] // in what the tests share

use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use guest_kernels::cache::{Begun, Cache, CacheError, Entry, Pending};
use guest_kernels::manifest::{FILE_NAME, Kind, Manifest, Origin, file};

fn begin(cache: &Cache, name: &str, key: &str) -> Pending {
    match cache.begin(Kind::Built, name, key).unwrap() {
        Begun::Pending(pending) => pending,
        Begun::Finished(entry) => panic!("{} is finished", entry.path.display()),
    }
}

fn manifest() -> Manifest {
    let origin = Origin::Package { package: "p".into(), version: "1".into(), sha256: "00".into() };
    Manifest::new("", Kind::Built, "", "6.99.0", origin)
}

fn publish(pending: Pending, image: &str) -> Entry {
    fs::write(pending.path().join(file::BZIMAGE), image).unwrap();
    fs::create_dir(pending.path().join("modules")).unwrap();
    fs::write(pending.path().join("modules/a.ko"), "module").unwrap();
    pending.publish(manifest()).unwrap()
}

/// Everything in a directory, hidden or not.
fn inside(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_published_is_found_with_its_hashes() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    assert!(cache.find("a").unwrap().is_empty());
    publish(begin(&cache, "a", "1"), "image");

    let found = cache.newest("a").unwrap().unwrap();
    assert_eq!((found.manifest.name.as_str(), found.manifest.key.as_str()), ("a", "1"));
    assert_eq!(found.manifest.size(), 11);
    assert_eq!(found.manifest.files.keys().collect::<Vec<_>>(), ["bzImage", "modules/a.ko"]);
    assert_eq!(fs::read(found.bzimage()).unwrap(), b"image");
    assert!(found.manifest.damaged(&found.path).is_empty());
    assert!(matches!(cache.begin(Kind::Built, "a", "1").unwrap(), Begun::Finished(_)));

    fs::write(found.bzimage(), "imagf").unwrap();
    assert_eq!(found.manifest.damaged(&found.path), ["bzImage"]);
}

#[test]
fn a_name_means_the_kernel_asked_for_last() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    publish(begin(&cache, "a", "1"), "one");
    thread::sleep(Duration::from_millis(20));
    publish(begin(&cache, "a", "2"), "two");
    assert_eq!(cache.newest("a").unwrap().unwrap().manifest.key, "2");
    thread::sleep(Duration::from_millis(20));
    assert!(matches!(cache.begin(Kind::Built, "a", "1").unwrap(), Begun::Finished(_)));
    assert_eq!(cache.newest("a").unwrap().unwrap().manifest.key, "1");
    assert_eq!(cache.find("a").unwrap().len(), 2);
}

#[test]
fn an_abandoned_build_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let pending = begin(&cache, "a", "1");
    fs::write(pending.path().join(file::BZIMAGE), "half").unwrap();
    assert!(cache.find("a").unwrap().is_empty());
    drop(pending);
    assert!(inside(&cache.kernel_dir("a")).is_empty());
}

#[test]
fn a_killed_build_leaves_nothing_that_looks_finished_and_is_swept_away() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let pending = begin(&cache, "a", "1");
    fs::write(pending.path().join(file::BZIMAGE), "half").unwrap();
    // A killed process runs no destructors, but the system closes its files and so drops its lock.
    let left = pending.path().to_owned();
    let kept = root.path().join("kept");
    fs::rename(&left, &kept).unwrap();
    drop(pending);
    fs::rename(&kept, &left).unwrap();

    assert!(cache.find("a").unwrap().is_empty());
    drop(begin(&cache, "b", "1"));
    assert!(!left.exists());
    let again = begin(&cache, "a", "1");
    assert!(inside(again.path()).is_empty());
}

#[test]
fn a_build_at_work_is_not_swept_away() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let pending = begin(&cache, "a", "1");
    drop(begin(&cache, "b", "1"));
    publish(pending, "image");
    assert!(cache.newest("a").unwrap().is_some());
}

#[test]
fn the_second_of_two_waits_and_finds_it_done() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let first = begin(&cache, "a", "1");
    let (sender, receiver) = mpsc::channel();
    let other = cache.clone();
    let second = thread::spawn(move || {
        let begun = other.begin(Kind::Built, "a", "1").unwrap();
        sender.send(()).unwrap();
        matches!(begun, Begun::Finished(_))
    });
    assert!(receiver.recv_timeout(Duration::from_millis(200)).is_err(), "the second did not wait");
    publish(first, "image");
    assert!(second.join().unwrap(), "the second did not find it");
    assert_eq!(inside(&cache.kernel_dir("a")), ["1"]);
}

#[test]
fn of_two_the_second_goes_on_if_the_first_fails() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    let first = begin(&cache, "a", "1");
    let other = cache.clone();
    let second =
        thread::spawn(move || matches!(other.begin(Kind::Built, "a", "1").unwrap(), Begun::Pending(_)));
    thread::sleep(Duration::from_millis(100));
    drop(first);
    assert!(second.join().unwrap());
}

#[test]
fn an_entry_that_is_not_whole_does_not_exist_and_is_made_again() {
    let spoil: [fn(&Entry); 5] = [
        |entry| fs::remove_file(entry.bzimage()).unwrap(),
        |entry| File::options().write(true).open(entry.bzimage()).unwrap().set_len(2).unwrap(),
        |entry| fs::remove_file(entry.file(FILE_NAME)).unwrap(),
        |entry| fs::write(entry.file(FILE_NAME), "{\"format\": 1").unwrap(),
        |entry| {
            let text = fs::read_to_string(entry.file(FILE_NAME)).unwrap();
            fs::write(entry.file(FILE_NAME), text.replace("\"format\": 1", "\"format\": 999")).unwrap();
        },
    ];
    for spoil in spoil {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path()).unwrap();
        spoil(&publish(begin(&cache, "a", "1"), "image"));
        assert!(cache.find("a").unwrap().is_empty());
        publish(begin(&cache, "a", "1"), "image");
        assert!(cache.newest("a").unwrap().is_some());
    }
}

#[test]
fn kernels_and_sources_are_removed() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    publish(begin(&cache, "a", "1"), "image");
    publish(begin(&cache, "a", "2"), "image");
    assert_eq!(cache.names().unwrap(), ["a"]);
    assert_eq!(cache.remove("a").unwrap(), 22);
    assert!(cache.names().unwrap().is_empty());

    let make = |work: &Path| fs::write(work.join("Makefile"), "").map_err(|_| CacheError::NoHome);
    let made = cache.source("linux_1", make).unwrap();
    assert!(made.join("Makefile").is_file() && cache.has_source("linux_1"));
    cache.source("linux_1", |_| -> Result<(), CacheError> { panic!("made twice") }).unwrap();
    assert_eq!(cache.remove_sources().unwrap(), [made]);
    assert!(!cache.has_source("linux_1"));
}

#[test]
fn sources_that_fail_leave_nothing() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    cache.source("linux_1", |_| Err(CacheError::NoHome)).unwrap_err();
    assert!(inside(&cache.sources()).is_empty());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let cache = Cache::at(root.path()).unwrap();
    for name in ["", "..", ".hidden", "a/b", "/etc", "a b", "ä", &"a".repeat(200)] {
        assert!(matches!(cache.begin(Kind::Built, name, "1"), Err(CacheError::Name(_))), "{name:?}");
        assert!(matches!(cache.find(name), Err(CacheError::Name(_))), "{name:?}");
        assert!(matches!(cache.remove(name), Err(CacheError::Name(_))), "{name:?}");
    }
}

#[test]
fn a_cache_that_cannot_be_written_says_which() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Cache::at(file.path()).unwrap();
    let error = cache.begin(Kind::Built, "a", "1").unwrap_err().to_string();
    assert!(error.contains(&file.path().display().to_string()), "{error}");
}
