//! The check before the start: what the settings make of the tables, and what the target says of that.

use std::sync::Arc;

use logferry_config::Task;
use logferry_model::{Finding, TableVersion};
use logferry_pg_apply::{ExistingTables, Target};

use crate::plans::Plans;
use crate::run::existing_tables;

/// What is not as the task needs it: names, types, the target. Without tables, the target alone.
pub async fn check(task: &Task, tables: &[Arc<TableVersion>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut targets = Vec::new();
    if !tables.is_empty() {
        match Plans::compile(tables, &task.transform, &task.tables, task.ddl) {
            Ok(plans) => {
                let lossy = plans.lossy_columns().into_iter();
                findings.extend(lossy.map(|note| Finding::warning("types", note)));
                targets = plans.targets();
            }
            Err(fault) => {
                let hint = fault.hint;
                findings.extend(fault.message.lines().map(|line| {
                    let finding = Finding::error("tables of the task", line);
                    Finding { mend: hint.clone(), ..finding }
                }));
            }
        }
    }
    match Target::parse(task.target.url.expose()) {
        Ok(target) => {
            let existing = if task.phases.schema { existing_tables(task) } else { ExistingTables::Ignore };
            findings.extend(logferry_pg_apply::check(&target, &task.name, &targets, existing).await);
        }
        Err(e) => findings.push(Finding::error("target.url", e.to_string())),
    }
    findings
}
