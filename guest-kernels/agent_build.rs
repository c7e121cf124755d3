//! Builds the agent as a static binary, for the build scripts of what carries it.
//!
//! Cargo cannot yet name another package's binary as a dependency (artifact dependencies are unstable), hence a second cargo with
//! a target directory of its own.

use std::env;
use std::error::Error;
use std::path::Path;
use std::process::Command;

/// glibc, linked statically: there is nothing but the agent in an initramfs.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// Builds it with these features and leaves its path in `KJVM_AGENT`. `here`: the folder that `agent/` is in.
pub fn agent(here: &Path, features: &[&str]) -> Result<(), Box<dyn Error>> {
    let here = here.canonicalize()?;
    for input in [
        "agent/src",
        "agent/Cargo.toml",
        "protocol/src",
        "protocol/Cargo.toml",
        "../Cargo.lock",
        "agent_build.rs",
    ] {
        println!("cargo::rerun-if-changed={}", here.join(input).display());
    }
    let target_dir = Path::new(&env::var("OUT_DIR")?).join("agent");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .current_dir(here.join("agent"))
        .args(["build", "--locked", "--profile", "agent", "--package", "agent", "--target", TARGET])
        .arg(format!("--features={}", features.join(",")))
        .arg("--target-dir")
        .arg(&target_dir);
    // What the outer cargo was told about flags and wrappers (clippy) is not for the guest.
    for variable in
        ["CARGO_ENCODED_RUSTFLAGS", "RUSTC_WORKSPACE_WRAPPER", "RUSTC_WRAPPER", "CARGO_BUILD_TARGET"]
    {
        cargo.env_remove(variable);
    }
    // Paths of this machine do not belong into the guest, and the same sources must give the same agent anywhere.
    let root = here.parent().ok_or("the crate has no parent directory")?;
    let cargo_home =
        env::var("CARGO_HOME").or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    let flags = format!(
        "-C target-feature=+crt-static -C relocation-model=static --remap-path-prefix={}=kjvm --remap-path-prefix={cargo_home}=cargo",
        root.display()
    );
    cargo.env("RUSTFLAGS", flags);
    let output = cargo.output()?;
    if !output.status.success() {
        return Err(format!("building the guest agent: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let agent = target_dir.join(TARGET).join("agent/agent");
    println!("cargo::rustc-env=KJVM_AGENT={}", agent.display());
    Ok(())
}
