use super::*;

fn candidates(list: &[(&str, &str)]) -> Vec<Candidate> {
    list.iter()
        .map(|(package, version)| Candidate { package: (*package).into(), version: (*version).into() })
        .collect()
}

#[test]
fn a_meta_package_leads_to_the_kernel() {
    let meta =
        "Package: linux-image-amd64\nVersion: 6.1.192-2\nDepends: linux-image-6.1.0-56-amd64 (= 6.1.192-2)\n";
    let found = image_dependency(meta).unwrap();
    assert_eq!((found.package.as_str(), found.version.as_str()), ("linux-image-6.1.0-56-amd64", "6.1.192-2"));
    let real = "Package: linux-image-6.1.0-56-amd64\nDepends: kmod, linux-base (>= 4.3~), initramfs-tools (>= 0.120) | x\n";
    assert_eq!(image_dependency(real), None);
}

#[test]
fn names_of_kernel_packages_are_taken_apart() {
    let parts = |package| {
        let name = ImageName::parse(package).unwrap();
        (name.release, name.series, name.flavour)
    };
    assert_eq!(parts("linux-image-amd64"), (None, None, ""));
    assert_eq!(parts("linux-image-cloud-amd64"), (None, None, "cloud"));
    assert_eq!(parts("linux-image-6.12-amd64"), (None, Some("6.12"), ""));
    assert_eq!(parts("linux-image-6.12-cloud-amd64"), (None, Some("6.12"), "cloud"));
    assert_eq!(parts("linux-image-6.1.0-56-amd64"), (Some("6.1.0-56"), Some("6.1"), ""));
    assert_eq!(
        parts("linux-image-6.12.117+deb12-cloud-amd64"),
        (Some("6.12.117+deb12"), Some("6.12"), "cloud")
    );
    assert_eq!(ImageName::parse("linux-source-6.12"), None);
}

#[test]
fn a_version_is_found_by_package_kernel_and_release() {
    let known = candidates(&[
        ("linux-image-6.1.0-56-amd64", "6.1.192-2"),
        ("linux-image-6.1.0-53-amd64", "6.1.176-1"),
    ]);
    for version in ["6.1.176-1", "6.1.176", "6.1.0-53-amd64"] {
        assert_eq!(pick("linux-image-6.1", &known, version).unwrap().package, "linux-image-6.1.0-53-amd64");
    }
    insta::assert_snapshot!(
        pick("linux-image-6.1", &known, "6.1.9").unwrap_err(),
        @"apt has no version 6.1.9 of linux-image-6.1; it has 6.1.192-2, 6.1.176-1; others can be given with --deb FILE"
    );
}

#[test]
fn messages_say_what_helps() {
    insta::assert_snapshot!(
        AptError::NoApt { tool: "apt-cache" },
        @"apt-cache is not on this machine: give a package with --deb FILE, or kernel sources with --source DIR|TAR"
    );
    insta::assert_snapshot!(
        AptError::NoPackage { package: "linux-image-7".into(), near: vec!["linux-image-amd64".into()] },
        @"apt knows no package linux-image-7 (nearest: linux-image-amd64); try `apt-get update`, or give a package file with --deb FILE"
    );
}

/// What these tests can only show where the tool is.
fn apt_is_here() -> bool {
    let here = Command::new("apt-cache").arg("--version").output().is_ok();
    if !here {
        eprintln!("skipped: no apt-cache here");
    }
    here
}

#[test]
fn a_package_that_does_not_exist_is_named() {
    if !apt_is_here() {
        return;
    }
    match candidate("linux-image-0.0-nowhere") {
        Err(AptError::NoPackage { package, .. }) => assert_eq!(package, "linux-image-0.0-nowhere"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_download_that_cannot_be_is_an_error() {
    if !apt_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let wanted = Candidate { package: "linux-image-0.0-nowhere".into(), version: "1".into() };
    let error = download(&wanted, directory.path()).unwrap_err().to_string();
    assert!(error.starts_with("apt-get cannot download linux-image-0.0-nowhere 1: "), "{error}");
}
