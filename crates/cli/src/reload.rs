//! `logferry reload`: tables of a task that runs are read once more.

use std::io::Write;
use std::process::ExitCode;

use logferry_config::Task;
use logferry_pg_apply::{Target, request_reload};

use crate::args::Reload;
use crate::failure::Failed;
use crate::output::Out;
use crate::run;

pub(crate) fn perform(args: &Reload, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let task = Task::load(&args.task)?;
    if !task.follows_server() {
        return Err(Failed::argument("tables can be read once more only where their changes are followed"));
    }
    let target = Target::parse(task.target.url.expose()).map_err(|e| Failed::config(e.into()))?;
    let tables = run::runtime()?.block_on(request_reload(&target, &task.name, &args.table))?;
    if json {
        out.json(&serde_json::json!({ "asked": tables }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let seconds = task.apply.confirm_seconds;
    for table in &tables {
        writeln!(out, "{table} is read once more: within {seconds} s by the task if it runs, else when it is started")?;
    }
    Ok(ExitCode::SUCCESS)
}
