//! Builds the agent once more, with its mutants.

#[path = "../agent_build.rs"]
mod agent_build;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    agent_build::agent(
        &std::path::PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join(".."),
        &["mutants"],
    )
}
