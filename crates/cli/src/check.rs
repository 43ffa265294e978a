//! `logferry check`: everything that is not as a task needs it, all at once, with what to type. Nothing is changed.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use logferry_config::{BackupSource, Source, Task};
use logferry_model::{ChangeSource, Fault, Finding, Severity, TableVersion};
use logferry_mssql_backup::SoundSets;
use serde::Serialize;

use crate::args::Check;
use crate::failure::Failed;
use crate::open;
use crate::output::Out;
use crate::places::TaskFiles;
use crate::{run, server};

/// A finding, for machines.
#[derive(Serialize)]
struct Shown<'a> {
    severity: String,
    subject: &'a str,
    found: &'a str,
    mend: Option<&'a str>,
}

pub(crate) fn perform(args: &Check, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let task = Task::load(&args.task)?;
    let mut findings = run::runtime()?.block_on(look(&task));
    findings.sort_by_key(|finding| finding.severity);
    let errors = findings.iter().filter(|f| f.severity == Severity::Error).count();
    if json {
        let shown: Vec<Shown<'_>> = findings
            .iter()
            .map(|Finding { severity, subject, found, mend }| Shown {
                severity: severity.to_string(),
                subject,
                found,
                mend: mend.as_deref(),
            })
            .collect();
        out.json(&shown)?;
    } else {
        for Finding { severity, subject, found, mend } in &findings {
            writeln!(out, "{severity}: {subject}: {found}")?;
            for line in mend.iter().flat_map(|mend| mend.lines()) {
                writeln!(out, "    {line}")?;
            }
        }
        let known = findings.iter().filter(|f| f.severity != Severity::Note).count();
        match (errors, known) {
            (0, 0) => writeln!(out, "task \"{}\" can be run", task.name)?,
            (0, n) => writeln!(out, "task \"{}\" can be run; {n} to know of", task.name)?,
            (n, _) => writeln!(out, "task \"{}\" cannot be run: {n} to mend", task.name)?,
        }
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(3) })
}

async fn look(task: &Task) -> Vec<Finding> {
    let (mut findings, tables) = match &task.source {
        Source::Server(at) => server::check(task, at).await,
        Source::Backup(paths) if paths.is_whole_instance() => {
            let found =
                "of a whole instance the files alone are not checked here: logferry inspect tells what is in them";
            (vec![Finding::warning("files of the source", found)], Vec::new())
        }
        Source::Backup(paths) => match tables_of_files(task, paths).await {
            Ok(tables) => (Vec::new(), tables),
            Err(fault) => {
                let finding = Finding::error("files of the source", fault.message);
                (vec![Finding { mend: fault.hint, ..finding }], Vec::new())
            }
        },
    };
    findings.extend(logferry_pipeline::check(task, &tables).await);
    findings
}

/// Reads and checks all files, as a run does before it writes anything.
async fn tables_of_files(task: &Task, paths: &BackupSource) -> Result<Vec<Arc<TableVersion>>, Fault> {
    let files = TaskFiles::of(paths)?;
    let mut source = open::source(task, paths, &files, &SoundSets::default())?;
    source.snapshot().await?;
    Ok(source.tables())
}
