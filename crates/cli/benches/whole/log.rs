//! The log on one core: to records, and to committed row changes.

use std::time::Instant;

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
    let (mut to_records, mut to_changes) = (Vec::new(), Vec::new());
    let (mut bytes, mut records, mut changes) = (0, 0, 0);
    for _ in 0..sizes.rounds {
        let (chain_a, chain_b) = (chain(), chain());
        let began = Instant::now();
        (bytes, records) = read_records(&chain_a);
        to_records.push(began.elapsed());
        let began = Instant::now();
        changes = read_changes(chain_b);
        to_changes.push(began.elapsed());
    }
    assert_eq!(changes, u64::from(backups.changes));
    let speed = |times: &[std::time::Duration]| bytes as f64 / 1e6 / times[times.len() / 2].as_secs_f64();
    println!("{:.1} MB of log, {records} records, {changes} row changes", bytes as f64 / 1e6);
    println!("to records      {}  {:7.0} MB/s", shown(&mut to_records), speed(&to_records));
    let rows = changes as f64 / to_changes[to_changes.len() / 2].as_secs_f64();
    println!("to row changes  {}  {:7.0} MB/s, {rows:.0} changes/s", shown(&mut to_changes), speed(&to_changes));
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

fn read_changes(chain: Chain) -> u64 {
    let mut source = Changes::of_chain(chain, ReplayOptions::default()).expect("the chain");
    let mut changes = 0;
    while let Some(batch) = source.next(READ_BYTES, usize::MAX).expect("sound records") {
        changes += batch.events.iter().filter(|e| matches!(e, SourceEvent::Change(_))).count() as u64;
    }
    changes
}
