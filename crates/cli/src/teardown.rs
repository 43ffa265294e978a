//! `logferry teardown`: what a task has made on its source goes again.

use std::io::Write;
use std::process::ExitCode;

use logferry_config::{Source, Task};
use logferry_model::Fault;

use crate::args::Teardown;
use crate::failure::Failed;
use crate::output::Out;
use crate::run;
use crate::server;

pub(crate) fn perform(args: &Teardown, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let task = Task::load(&args.task)?;
    let Source::Server(at) = &task.source else {
        return Err(Failed::argument("the task reads files: it has made nothing anywhere"));
    };
    let settings = server::settings(&task, at);
    let removed = run::runtime()?.block_on(logferry_mssql_live::teardown(settings)).map_err(Fault::from)?;
    if json {
        out.json(&serde_json::json!({ "removed": removed }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if removed.is_empty() {
        writeln!(out, "there was nothing of logferry in database \"{}\"", at.database)?;
    }
    for line in &removed {
        writeln!(out, "removed: {line}")?;
    }
    Ok(ExitCode::SUCCESS)
}
