//! The log on one core: to records, and to committed row changes; these with all changed pages in memory, and with as many as a task
//! keeps there, where the others come and go through its temporary file. Times are those that the thread had the core for, where the system
//! tells them: others on the machine are not in them.
//!
//! Of a log that is short beside the pages that it changes, bringing these into memory is a good part; `changes=2000000` is a log of three
//! times the size of its database, and shows what decoding costs.

use std::time::{Duration, Instant};

use logferry_model::SourceEvent;
use logferry_mssql_backup::LogBlocks;
use logferry_mssql_backup::backups::Backups;
use logferry_mssql_backup::chain::{Chain, PlanOptions};
use logferry_mssql_backup::changes::{Changes, ReplayOptions};

use crate::{Sizes, data, shown};

/// What a task asks its source for at once.
const READ_BYTES: usize = 1 << 20;

pub fn run(sizes: Sizes) {
    println!("\n== log, one core ==");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let backups = data::backups(sizes, sizes.changes, folder.path());
    let files = [backups.full, backups.log];
    let chain = || Backups::find(&files).and_then(|b| b.plan(None, PlanOptions::default())).expect("a chain");
    let some = ReplayOptions::default();
    let all = ReplayOptions { pages_max: 4 << 30, ..some };
    let mut to_records = Vec::new();
    let mut to_changes = [("all pages in memory", all, Vec::new()), ("pages in 96 MiB", some, Vec::new())];
    assert_eq!(some.pages_max, 96 << 20);
    let (mut bytes, mut records) = (0, 0);
    for _ in 0..sizes.rounds {
        let chain_a = chain();
        let began = Clock::now();
        (bytes, records) = read_records(&chain_a);
        to_records.push(began.elapsed());
        for (_, options, times) in &mut to_changes {
            let chain_b = chain();
            let began = Clock::now();
            assert_eq!(read_changes(chain_b, *options), u64::from(backups.changes));
            times.push(began.elapsed());
        }
    }
    let changes = backups.changes;
    let per_second = |much: f64, times: &[Duration]| much / times[times.len() / 2].as_secs_f64();
    println!("{:.1} MB of log, {records} records, {changes} row changes", bytes as f64 / 1e6);
    println!("to records      {}  {:7.0} MB/s", shown(&mut to_records), per_second(bytes as f64 / 1e6, &to_records));
    for (name, _, times) in &mut to_changes {
        let shown = shown(times);
        let (bytes, rows) = (per_second(bytes as f64 / 1e6, times), per_second(f64::from(changes), times));
        println!("to row changes  {shown}  {bytes:7.0} MB/s, {rows:.0} changes/s, {name}");
    }
}

/// When something began.
struct Clock {
    wall: Instant,
    on_core: Option<Duration>,
}

impl Clock {
    fn now() -> Self {
        Clock { wall: Instant::now(), on_core: on_core() }
    }

    fn elapsed(&self) -> Duration {
        match (self.on_core, on_core()) {
            (Some(before), Some(now)) => now - before,
            _ => self.wall.elapsed(),
        }
    }
}

/// How long this thread had a core so far: the first field, in nanoseconds.
fn on_core() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

fn read_records(chain: &Chain) -> (u64, u64) {
    let mut blocks = chain.blocks(chain.base_end()).expect("the log");
    let (mut bytes, mut records) = (0, 0);
    while let Some(block) = blocks.next_block().expect("sound blocks") {
        bytes += block.bytes().len() as u64;
        for record in block.records() {
            std::hint::black_box(record.expect("sound records"));
            records += 1;
        }
    }
    (bytes, records)
}

fn read_changes(chain: Chain, options: ReplayOptions) -> u64 {
    let mut source = Changes::of_chain(chain, options).expect("the chain");
    let mut changes = 0;
    while let Some(batch) = source.next(READ_BYTES, usize::MAX).expect("sound records") {
        changes += batch.events.iter().filter(|e| matches!(e, SourceEvent::Change(_))).count() as u64;
    }
    changes
}
