//! The binary `logferry`.
//!
//! Output goes to standard output, everything else (progress, logs, errors) to standard error. Exit codes: 0 all is
//! well, 2 a mistake in settings or arguments, 3 a check failed before anything was written, 1 the rest. When the
//! reader of our output goes away, we end without a word, as every tool in a pipe does.

mod args;
mod bars;
mod check;
mod demo;
mod dump;
mod failure;
mod files;
mod init;
mod inspect;
mod instance;
mod logging;
mod open;
mod output;
mod places;
mod reload;
mod run;
mod server;
mod standin;
mod summary;
mod teardown;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};
use crate::failure::Failed;
use crate::output::Out;

fn main() -> ExitCode {
    // clap ends the process itself, with 2, where the arguments are wrong.
    let args = Args::parse();
    logging::start(&args);
    let mut out = Out::stdout();
    let done = perform(args, &mut out).and_then(|code| out.flush().map_err(Failed::from).map(|()| code));
    match done {
        Ok(code) => code,
        Err(Failed::BrokenPipe) => ExitCode::SUCCESS,
        Err(failed) => {
            // What was printed until then comes first.
            let _broken = out.flush();
            eprintln!("{}", failed.shown());
            failed.exit_code()
        }
    }
}

fn perform(args: Args, out: &mut Out) -> Result<ExitCode, Failed> {
    match args.command {
        Command::Run(run) => run::perform(run, args.json, out),
        Command::Check(check) => check::perform(&check, args.json, out),
        Command::Init(init) => init::perform(&init, args.json, out),
        Command::Inspect(inspect) => inspect::perform(&inspect, args.json, out),
        Command::Dump(dump) => dump::perform(&dump.what, args.json, out),
        Command::Demo(demo) => demo::perform(&demo, args.json, out),
        Command::Reload(reload) => reload::perform(&reload, args.json, out),
        Command::Teardown(teardown) => teardown::perform(&teardown, args.json, out),
        Command::Standin(standin) => standin::perform(&standin, args.json, out),
    }
}
