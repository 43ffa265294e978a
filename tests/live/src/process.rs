//! `logferry run`, as anybody starts it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{Mode, Rig};

/// A task's file, and what the process says.
pub(crate) struct Task {
    folder: TempDir,
    logferry: PathBuf,
    password: String,
}

/// A process that follows. Dropped, it is killed.
pub(crate) struct Running {
    child: Child,
    said: PathBuf,
}

impl Task {
    pub(crate) fn new(rig: &Rig, mode: Mode, database: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (server, url) = (&rig.server, &rig.target.url);
        let text = format!(
            "task: {database}\nsource:\n  mode: {}\n  host: {}\n  port: {}\n  database: {database}\n  user: {}\n  \
             password: ${{SUITE_PASSWORD}}\n  tls: {{trust: true}}\ntarget:\n  url: {url}\ncopy: {{chunk_mb: 1}}\n",
            // What it takes of the source it makes itself.
            if mode == Mode::Cdc { "cdc\n  cdc: {enable: true}" } else { mode.name() },
            server.host,
            server.port,
            server.user
        );
        std::fs::write(folder.path().join("task.yaml"), text).expect("the task is written");
        Task { folder, logferry: rig.logferry.clone(), password: server.password.clone() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, said: &Path) -> Command {
        let said = std::fs::OpenOptions::new().create(true).append(true).open(said).expect("a file for what it says");
        let mut command = Command::new(&self.logferry);
        command.arg("run").arg(self.path("task.yaml")).env("SUITE_PASSWORD", &self.password).env_remove("LOGFERRY_LOG");
        command.stdin(Stdio::null()).stdout(said.try_clone().expect("the file")).stderr(said);
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self) {
        let said = self.path("said");
        let status = self.command(&said).status().expect("it runs");
        assert!(status.success(), "{}", std::fs::read_to_string(said).unwrap_or_default());
    }

    /// Starts it.
    pub(crate) fn start(&self) -> Running {
        let said = self.path("said");
        Running { child: self.command(&said).spawn().expect("it runs"), said }
    }
}

impl Running {
    /// It should not end by itself.
    pub(crate) fn alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("a process") {
            panic!("logferry run ended, {status}: {}", std::fs::read_to_string(&self.said).unwrap_or_default());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
