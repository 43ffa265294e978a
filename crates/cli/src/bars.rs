//! Progress: bars on a terminal, a log line now and then elsewhere.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use logferry_pipeline::{Phase, Progress, ProgressView};

use crate::logging;
use crate::summary::{grouped, size};

/// How often bars move: as often as an eye needs.
const BARS_EVERY: Duration = Duration::from_millis(100);

/// How often a line is logged.
const LINES_EVERY: Duration = Duration::from_secs(10);

/// Shows a task until it ends.
pub(crate) async fn show(progress: Arc<Progress>) {
    if io::stderr().is_terminal() { bars(&progress).await } else { lines(&progress).await }
}

async fn bars(progress: &Progress) {
    let all = MultiProgress::new();
    logging::show_bars(Some(all.clone()));
    let bar = all.add(ProgressBar::no_length());
    let copy = style("{spinner} {prefix:<9} [{bar:30}] {percent:>3}%  {msg}");
    let other = style("{spinner} {prefix:<9} {msg}");
    let began = Instant::now();
    loop {
        let view = progress.view();
        bar.set_prefix(view.phase.name());
        bar.set_message(words(&view, began.elapsed()));
        match view.phase {
            Phase::Ended => break,
            Phase::Copying => {
                bar.set_style(copy.clone());
                bar.set_length(view.bytes_estimate.max(1));
                bar.set_position(view.bytes_estimate_done);
            }
            _ => bar.set_style(other.clone()),
        }
        bar.tick();
        tokio::time::sleep(BARS_EVERY).await;
    }
    bar.finish_and_clear();
    logging::show_bars(None);
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

async fn lines(progress: &Progress) {
    let (began, mut last) = (Instant::now(), Instant::now());
    let mut phase = None;
    loop {
        let view = progress.view();
        if view.phase == Phase::Ended {
            return;
        }
        if phase != Some(view.phase) || last.elapsed() >= LINES_EVERY {
            tracing::info!(phase = view.phase.name(), "{}", words(&view, began.elapsed()));
            (phase, last) = (Some(view.phase), Instant::now());
        }
        tokio::time::sleep(BARS_EVERY).await;
    }
}

fn words(view: &ProgressView, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64().max(0.001);
    match view.phase {
        Phase::Checking => "opening the source".to_owned(),
        Phase::Schema => "making tables".to_owned(),
        Phase::Copying => format!(
            "{} rows, {}, {}/s, chunk {} of {}",
            grouped(view.rows_copied),
            size(view.bytes_copied),
            size((view.bytes_copied as f64 / seconds) as u64),
            view.chunks_done,
            view.chunks
        ),
        Phase::Keys => "making keys".to_owned(),
        Phase::Streaming | Phase::Ended => {
            let at = view.checkpoint.map(|c| format!(", at {}", c.applied.0)).unwrap_or_default();
            let (changes, transactions) = (grouped(view.changes), grouped(view.transactions));
            format!("{changes} row changes of {transactions} transactions{at}")
        }
    }
}
