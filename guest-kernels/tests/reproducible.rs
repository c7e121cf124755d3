//! The same inputs give the same kernel, byte for byte, wherever it is compiled.

use std::fs;

use guest_kernels::build::{Outcome, Request, build};
use guest_kernels::cache::Cache;
use guest_kernels::catalogue::{Recipe, lookup};
use guest_kernels::host::Host;
use guest_kernels::progress::Silent;
use guest_kernels::source::Source;

/// One image is the one in the user's cache, compiled first if it is not there; the other is compiled now, in another
/// directory. The saver, because it takes less time.
#[test]
fn a_kernel_compiled_twice_is_the_same_file() {
    const NAME: &str = "saver-6.12";
    let (cache, host) = (Cache::open().unwrap(), Host::here());
    let Recipe::Build { package, .. } = lookup(NAME).unwrap().recipe else {
        panic!("{NAME} is not compiled")
    };
    let request = Request { name: NAME.into(), ..Request::default() };
    let (Outcome::Already(first) | Outcome::Built(first)) = build(&cache, &host, &request, &Silent).unwrap();

    let identity = Source::Package(package.into()).identify(&cache).unwrap();
    let tree = identity.fetch(&cache, &host, &Silent).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let other = Cache::at(elsewhere.path()).unwrap();
    let request = Request { source: Some(tree.path), ..request };
    let Outcome::Built(second) = build(&other, &host, &request, &Silent).unwrap() else {
        panic!("not compiled")
    };

    for file in ["config", "System.map", "bzImage"] {
        let [one, two] = [&first, &second].map(|entry| fs::read(entry.file(file)).unwrap());
        let differs = one.iter().zip(&two).position(|(a, b)| a != b);
        assert!(one == two, "{file} differs: {} and {} bytes, first at {differs:?}", one.len(), two.len());
    }
}
