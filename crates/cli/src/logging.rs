//! Log lines on standard error, beside the progress bars where there are any.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::args::{Args, Command, LogFormat};

/// Starts logging. `LOGFERRY_LOG` chooses what is logged (`info`, `debug`, `logferry_pipeline=trace`, ...).
pub(crate) fn start(args: &Args) {
    let default = match args.command {
        Command::Run(_) if !io::stderr().is_terminal() => "info",
        // Its own words say what happens.
        Command::Demo(_) => "error",
        _ => "warn",
    };
    // What the TDS client says of TLS is not so: it is given a stream that is encrypted already. And what it calls an error may be what we
    // were ready for: a column that this version of the server does not have.
    let default = format!("{default},tiberius=off");
    let filter = EnvFilter::try_from_env("LOGFERRY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(AboveBars)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false);
    match args.log_format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
}

/// The bars that log lines must not be written through.
static BARS: Mutex<Option<MultiProgress>> = Mutex::new(None);

/// Log lines are written above these bars from here on.
pub(crate) fn show_bars(bars: Option<MultiProgress>) {
    *BARS.lock().unwrap_or_else(PoisonError::into_inner) = bars;
}

#[derive(Clone, Copy)]
struct AboveBars;

impl<'a> MakeWriter<'a> for AboveBars {
    type Writer = AboveBars;

    fn make_writer(&'a self) -> AboveBars {
        AboveBars
    }
}

impl io::Write for AboveBars {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bars = BARS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match bars {
            Some(bars) => bars.suspend(|| io::stderr().write_all(line))?,
            None => io::stderr().write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
