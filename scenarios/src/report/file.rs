//! Files that are whole or not there.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Writes a file so that, whatever happens meanwhile, there is either all of it under its name or what was there before.
///
/// # Errors
/// Those of the host. Its directory has to be there.
pub fn write_whole(path: &Path, contents: &[u8]) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // In the same directory, since a rename does not cross file systems. If we are killed, this name stays: it begins with a dot and
    // is nobody's report.
    let mut builder = tempfile::Builder::new();
    // As any other program's file, not as a secret: the user's umask decides.
    let permissions = std::fs::Permissions::from_mode(0o666);
    let mut file =
        builder.prefix(".kjvm-").suffix(".part").permissions(permissions).tempfile_in(directory)?;
    file.write_all(contents)?;
    // First what is in it, then its name: else a power cut could leave the name and nothing behind it.
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    const WRITER: &str = "KJVM_TEST_WRITES_REPORTS_TO";
    const LENGTH: usize = 3 << 20;

    fn report(generation: u8) -> Vec<u8> {
        vec![b'a' + generation % 26; LENGTH]
    }

    #[test]
    fn what_is_written_is_there_and_replaces_what_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.html");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        assert!(write_whole(&directory.path().join("nowhere/report"), b"three").is_err());
    }

    /// Not a test of its own: what the next one kills. Without being asked to it does nothing.
    #[test]
    fn a_process_that_writes_reports_until_it_is_killed() {
        let Some(path) = std::env::var_os(WRITER) else { return };
        for generation in (0..=u8::MAX).cycle() {
            write_whole(Path::new(&path), &report(generation)).unwrap();
        }
    }

    #[test]
    fn who_is_killed_while_writing_leaves_a_whole_report_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.html");
        let mut seen = 0;
        let mut halves = 0;
        for round in 0..40u64 {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "report::file::tests::a_process_that_writes_reports_until_it_is_killed"])
                .env(WRITER, &path)
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            // Moments that have nothing to do with those of the writer.
            std::thread::sleep(Duration::from_micros(8_000 + round * 1_733));
            child.kill().unwrap();
            child.wait().unwrap();
            if let Ok(bytes) = std::fs::read(&path) {
                assert_eq!(bytes.len(), LENGTH);
                assert!(bytes.iter().all(|byte| byte == &bytes[0]));
                seen += 1;
            }
            let mut files = std::fs::read_dir(&directory).unwrap();
            halves += u32::from(
                files.any(|file| file.unwrap().path().extension().is_some_and(|end| end == "part")),
            );
        }
        // It was killed in the middle at least once: else this would show nothing.
        assert!(seen > 0 && halves > 0, "{seen} reports, {halves} halves");
    }
}
