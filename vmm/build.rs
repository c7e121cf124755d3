//! Tells the crate the fingerprint of its state's layout.

#[path = "build/schema.rs"]
mod schema;

use std::error::Error;
use std::path::{Path, PathBuf};

/// Crates whose types a snapshot contains.
const CRATES: [&str; 5] = ["cpu", "devices", "firmware", "ram", "vmm"];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let mut schema = schema::Schema::default();
    for name in CRATES {
        let source = here.join("..").join(name).join("src");
        println!("cargo::rerun-if-changed={}", source.display());
        add(&source, &mut schema)?;
    }
    let hash = blake3::hash(schema.text().as_bytes()).to_hex();
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rustc-env=KJVM_SCHEMA={}", &hash[..32]);
    Ok(())
}

fn add(directory: &Path, schema: &mut schema::Schema) -> Result<(), Box<dyn Error>> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let is_test = path.file_stem().is_some_and(|stem| stem == "tests" || stem == "testing");
        if path.is_dir() && !is_test {
            add(&path, schema)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            let source = std::fs::read_to_string(&path)?;
            schema.add(&source).map_err(|error| format!("{}: {error}", path.display()))?;
        }
    }
    Ok(())
}
