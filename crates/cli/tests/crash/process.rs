//! `logferry run` as a process.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A task's file, and the folder that it is in.
#[derive(Debug)]
pub struct Task {
    path: PathBuf,
}

impl Task {
    /// Writes the file: small chunks and small batches, so that there is much between a run's begin and its end.
    pub fn write(folder: &Path, name: &str, files: &[&Path], url: &str) -> Task {
        let files: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
        let yaml = format!(
            "task: {name}\n\
             source: {{mode: backup, files: {files:?}}}\n\
             target: {{url: \"{url}\"}}\n\
             copy: {{workers: 2, chunk_mb: 1}}\n\
             apply: {{batch_mb: 1, batch_rows: 40, linger_ms: 20}}\n\
             memory: {{pages_mb: 8, queue_mb: 1}}\n\
             retry: {{connection_minutes: 5}}\n"
        );
        let path = folder.join(format!("{name}.yaml"));
        fs::write(&path, yaml).expect("the temporary folder can be written to");
        Task { path }
    }

    /// Starts `logferry run`.
    pub fn start(&self) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_logferry"))
            .args(["run", "--json"])
            .arg(&self.path)
            .env("LOGFERRY_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        // A full pipe would stop the process.
        let mut pipe = child.stderr.take().expect("it was asked for");
        let said = thread::spawn(move || {
            let mut said = String::new();
            // What was written until the process ended is what there is.
            let _cut_off = pipe.read_to_string(&mut said);
            said
        });
        Run { child, said: Some(said) }
    }
}

/// A running `logferry run`. Killed when dropped.
#[derive(Debug)]
pub struct Run {
    child: Child,
    said: Option<thread::JoinHandle<String>>,
}

/// How a run ended by itself.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote to standard error.
    pub said: String,
}

impl Ended {
    /// Panics unless all went well.
    #[track_caller]
    pub fn assert_success(&self, what: &str) {
        assert!(self.status.success(), "{what}: {}\n{}", self.status, self.said);
    }
}

/// No run of these tests takes so long.
const RUN_MAX: Duration = Duration::from_secs(120);

impl Run {
    /// Whether it has ended by itself.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_some()
    }

    /// Waits until it ends by itself.
    pub fn wait(self) -> Ended {
        let pid = self.child.id();
        self.wait_for(RUN_MAX).unwrap_or_else(|_| panic!("run {pid} does not end"))
    }

    /// Waits until it ends by itself, but no longer than this; gives it back where it runs on.
    pub fn wait_for(mut self, longest: Duration) -> Result<Ended, Run> {
        let until = Instant::now() + longest;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                let said = self.said.take().expect("it ends once").join().expect("reading does not panic");
                return Ok(Ended { status, said });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self);
            }
            thread::sleep(left.min(Duration::from_millis(1)));
        }
    }

    /// SIGKILL; gives what it wrote until then.
    pub fn kill(mut self) -> String {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.said.take().expect("it ends once").join().expect("reading does not panic")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It is over, or it is to end with the test that failed.
        let _over = self.child.kill();
        let _reaped = self.child.wait();
    }
}
