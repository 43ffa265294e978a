//! A bounded run over all targets. `LOGFERRY_FUZZ_RUNS` sets the inputs per target, `LOGFERRY_FUZZ_SEED` where they
//! begin; a finding prints both and the input.

use std::alloc::System;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cap::Cap;
use logferry_fuzz::mutate::{Random, mutate};
use logferry_fuzz::{TARGETS, corpus};
use logferry_mssql_backup::LogBlocks;
use logferry_mssql_backup::set::BackupSet;

/// A decoder that asks for more than this ends the test run.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 256 << 20);

const RUNS: u64 = 20_000;

#[test]
fn no_target_panics_loops_or_takes_unbounded_memory() {
    let number = |name: &str, default| std::env::var(name).ok().map_or(default, |v| v.parse().expect(name));
    let (runs, first) = (number("LOGFERRY_FUZZ_RUNS", RUNS), number("LOGFERRY_FUZZ_SEED", 1));
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        let kept = corpus::kept(target.name).expect("a corpus, which libfuzzer/run keeps");
        assert!(!kept.is_empty(), "{} has no corpus", target.name);
        for input in seeds.iter().chain(&kept) {
            (target.run)(input);
        }
        let seeds: Vec<Vec<u8>> = seeds.into_iter().chain(kept).collect();
        for run in first..first + runs {
            let mut random = Random::new(run);
            let mut input = seeds[random.below(seeds.len())].clone();
            let other = &seeds[random.below(seeds.len())];
            mutate(&mut input, other, &mut random);
            if catch_unwind(AssertUnwindSafe(|| (target.run)(&input))).is_err() {
                let hex: String = input.iter().map(|b| format!("{b:02x}")).collect();
                panic!("{} panics: LOGFERRY_FUZZ_SEED={run} LOGFERRY_FUZZ_RUNS=1, input {hex}", target.name);
            }
        }
        println!("{}: {} sound and found inputs, {runs} made of them", target.name, seeds.len());
    }
}

#[test]
fn the_mutator_changes_what_it_is_given_and_repeats_itself() {
    let mutated = |seed| {
        let mut input = vec![7u8; 300];
        mutate(&mut input, &[9; 300], &mut Random::new(seed));
        input
    };
    assert_eq!(mutated(5), mutated(5));
    assert!((0..50).filter(|&seed| mutated(seed) != vec![7u8; 300]).count() > 40);
}

#[test]
fn media_seeds_have_pages_and_log() {
    let media = TARGETS.iter().find(|t| t.name == "media").expect("a target");
    let full = (media.seeds)().swap_remove(0);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), full).expect("a temporary file");
    let set = BackupSet::open(&[file.path().to_owned()], None).expect("a backup set");
    assert_eq!(set.pages().expect("pages").page_count(), 8);
    let mut log = set.log(set.header.first_lsn).expect("log");
    assert!(log.next_block().expect("a block").is_some());
}
