//! `logferry run` as a process, with the time and the memory that it takes.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a run took.
pub struct Took {
    /// From start to end.
    pub wall: Duration,
    /// Time on all cores, without the server's, in the steps of the kernel's clock (usually 10 ms).
    pub cpu: Duration,
    /// Most memory that it had, in bytes.
    pub peak: u64,
}

/// Runs a task of files to its end.
pub fn logferry(files: &[&Path], url: &str) -> Took {
    let mut command = Command::new(env!("CARGO_BIN_EXE_logferry"));
    command.args(["run", "--name", "bench", "--to", url, "--from"]).args(files);
    took(command)
}

/// Runs a command to its end.
pub fn took(mut command: Command) -> Took {
    let began = Instant::now();
    let mut child = command
        .env("LOGFERRY_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary was built with this bench");
    let proc = format!("/proc/{}", child.id());
    let cpu_before = children_time();
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if let Ok(text) = fs::read_to_string(format!("{proc}/status")) {
            peak = peak.max(high_water(&text).unwrap_or(0));
        }
        thread::sleep(Duration::from_millis(2));
    };
    let (wall, cpu) = (began.elapsed(), children_time() - cpu_before);
    assert!(status.success(), "{status}");
    Took { wall, cpu, peak }
}

fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}

/// What ended children of this process took: fields 16 and 17, in hundredths of a second. The name in field 2 may have blanks in it.
fn children_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let numbers: Vec<u64> = stat
        .rsplit(')')
        .next()
        .map_or(Vec::new(), |rest| rest.split_whitespace().skip(13).take(2).filter_map(|n| n.parse().ok()).collect());
    Duration::from_millis(10 * numbers.iter().sum::<u64>())
}
