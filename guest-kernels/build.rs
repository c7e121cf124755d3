//! Builds the agent, so that the library can carry it (see `src/agent.rs`).

#[path = "agent_build.rs"]
mod agent_build;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    agent_build::agent(&std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?), &[])
}
