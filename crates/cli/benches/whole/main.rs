//! The whole, measured: the full copy beside PostgreSQL's own COPY, the log on one core, changes from files to rows.
//!
//! `cargo bench -p logferry --bench whole -- [copy] [live] [catalog] [log] [apply] [rows=1000000] [changes=400000] [rounds=3]`; without a name,
//! all of them. Made to be run by hand: some minutes, a gigabyte of memory and of temporary files.
//!
//! Compare what stands side by side in one run. The same work may take half as long again a minute later.

mod apply;
mod catalog;
mod copy;
mod data;
mod live;
mod log;
mod process;

use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |name: &str, default: u32| {
        let given = args.iter().find_map(|a| a.strip_prefix(name)?.strip_prefix('='));
        given.map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{name}={n} is not a number")))
    };
    let sizes =
        Sizes { rows: number("rows", 1_000_000), changes: number("changes", 400_000), rounds: number("rounds", 3) };
    let names: Vec<&str> = args.iter().map(String::as_str).filter(|a| !a.contains('=')).collect();
    let wanted = |name| names.is_empty() || names.contains(&name);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    if wanted("copy") {
        runtime.block_on(copy::run(sizes));
    }
    if wanted("live") {
        runtime.block_on(live::run(sizes));
    }
    if wanted("catalog") {
        runtime.block_on(catalog::run(sizes));
    }
    if wanted("log") {
        log::run(sizes);
    }
    if wanted("apply") {
        runtime.block_on(apply::run(sizes));
    }
}

/// How much of everything.
#[derive(Clone, Copy)]
struct Sizes {
    rows: u32,
    changes: u32,
    rounds: u32,
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// `1.234 (1.200-1.300)`
fn shown(times: &mut [Duration]) -> String {
    let median = median(times);
    let (least, most) = (times[0], times[times.len() - 1]);
    format!("{:6.2} s ({:.2}-{:.2})", median.as_secs_f64(), least.as_secs_f64(), most.as_secs_f64())
}
