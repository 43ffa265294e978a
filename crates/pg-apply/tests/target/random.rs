//! Random changes, in random batches, over connections that break, against a model in memory.
//!
//! `LOGFERRY_SEED=n` runs one seed, `LOGFERRY_SECONDS=n` lets the search take longer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant, SystemTime};

use logferry_model::{ChangeSink, Class};
use logferry_pg_apply::{ApplyMode, Target, TaskSettings, TaskTarget};
use logferry_testkit::postgres::PrivatePostgres;

use crate::support::{batches, run, streaming_as};
use logferry_testkit::proxy::{Cut, Proxy};

const TABLES: &str = "k(id:int key, v, w), q(id:int key, u unique, w), m(v, n:int), p(a key, b:int key)";

#[test]
fn whatever_happens_the_target_is_the_model() {
    let seconds = std::env::var("LOGFERRY_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(4);
    let until = Instant::now() + Duration::from_secs(seconds);
    let both = |seed| {
        one(seed, ApplyMode::Exact);
        one(seed, ApplyMode::Replace);
    };
    if let Ok(seed) = std::env::var("LOGFERRY_SEED") {
        return both(seed.parse().unwrap());
    }
    let first = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    for seed in first.. {
        both(seed);
        if Instant::now() > until {
            break;
        }
    }
}

fn one(seed: u64, mode: ApplyMode) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut model = Model { whole: mode == ApplyMode::Replace, ..Model::default() };
    let transactions: Vec<String> = (0..30).map(|_| model.transaction(&mut random)).collect();
    let expect = model.shown();
    let (found, cuts) = run(async {
        let s = streaming_as(TABLES, mode).await;
        let port = PrivatePostgres::shared().port();
        let proxy = Proxy::before(port).await.unwrap();
        let target = Target::parse(&proxy.url(&s.database.url(), port)).unwrap();
        let (task, _) = TaskTarget::open(&target, TaskSettings { mode, ..TaskSettings::new("test") }).await.unwrap();
        let mut cuts = 0;
        'again: loop {
            let mut sink = task.sink().await.unwrap();
            for table in &s.tables {
                sink.define(table.clone()).await.unwrap();
            }
            let applied = sink.resume_point().await.unwrap().unwrap().applied.0.vlf as usize;
            if cuts < 4 {
                let cut = match random.below(4) {
                    0 => Cut::BeforeCommit,
                    1 => Cut::AfterCommit,
                    _ => Cut::Bytes(random.below(6000)),
                };
                proxy.cut(random.below(9), cut);
            }
            for (i, text) in transactions.iter().enumerate().skip(applied) {
                for batch in batches(&s.tables, text, i as u32 + 1) {
                    if let Err(fault) = sink.apply(&batch).await {
                        assert_eq!(fault.class, Class::Transient, "seed {seed}, transaction {text}: {fault}");
                        assert!(proxy.was_cut(), "seed {seed}: {fault}");
                        cuts += 1;
                        continue 'again;
                    }
                }
            }
            break;
        }
        (s.rows().await, cuts)
    });
    assert_eq!(found, expect, "seed {seed}, {mode:?}, {cuts} cuts: {transactions:#?}");
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn value(&mut self) -> String {
        if self.one_in(5) { "~".into() } else { format!("v{}", self.below(50)) }
    }
}

/// What the tables hold.
#[derive(Default)]
struct Model {
    /// Rows are told with all their values.
    whole: bool,
    k: BTreeMap<usize, [String; 2]>,
    q: BTreeMap<usize, [String; 2]>,
    m: Vec<String>,
    p: Vec<String>,
}

impl Model {
    /// A few changes, some ended batches, as `support` reads them.
    fn transaction(&mut self, random: &mut Random) -> String {
        let mut text = String::new();
        for _ in 0..1 + random.below(12) {
            if random.one_in(8) {
                let (name, table) =
                    [("k", &mut self.k), ("q", &mut self.q)].into_iter().nth(random.below(2)).expect("one of two");
                text += &shifted(name, table, random);
            }
            let change = match random.below(6) {
                0 | 1 => keyed("k", &mut self.k, (false, self.whole), random),
                2 | 3 => keyed("q", &mut self.q, (true, self.whole), random),
                4 => rows("m", &mut self.m, random, |r| format!("{} {}", r.value(), r.below(3))),
                _ => rows("p", &mut self.p, random, |r| format!("a{} {}", r.below(4), r.below(4))),
            };
            if let Some(change) = change {
                let end = if random.one_in(6) { "|" } else { ";" };
                let _fits = write!(text, "{change}{end}");
            }
        }
        // A transaction without changes moves the checkpoint alone; a text must not be empty.
        format!("{text} ")
    }

    fn shown(&self) -> String {
        let keyed = |t: &BTreeMap<usize, [String; 2]>| t.iter().map(|(id, [v, w])| format!("{id} {v} {w}")).collect();
        let all: [Vec<String>; 4] = [keyed(&self.k), keyed(&self.q), self.m.clone(), self.p.clone()];
        let sorted = all.map(|mut rows| {
            rows.sort();
            rows.join(", ")
        });
        sorted.join(" | ")
    }
}

/// A change of a table with a key, and perhaps a unique second column; perhaps always with all values.
fn keyed(
    name: &str,
    table: &mut BTreeMap<usize, [String; 2]>,
    (unique, whole): (bool, bool),
    random: &mut Random,
) -> Option<String> {
    const IDS: usize = 9;
    let free_id = |table: &BTreeMap<usize, [String; 2]>, random: &mut Random| {
        let id = random.below(IDS);
        (!table.contains_key(&id)).then_some(id)
    };
    let second = |table: &BTreeMap<usize, [String; 2]>, random: &mut Random| {
        let value = if unique {
            ["~".to_owned(), format!("u{}", random.below(6))][random.below(2)].clone()
        } else {
            random.value()
        };
        let taken = unique && value != "~" && table.values().any(|[v, _]| *v == value);
        (!taken).then_some(value)
    };
    if random.one_in(40) {
        table.clear();
        return Some(format!("{name}: trunc"));
    }
    let picked = table.keys().copied().nth(random.below(IDS));
    let Some(id) = picked else {
        let id = free_id(table, random)?;
        let row = [second(table, random)?, random.value()];
        let text = format!("{name}: ins {id} {} {}", row[0], row[1]);
        table.insert(id, row);
        return Some(text);
    };
    let [v, w] = table.remove(&id)?;
    // A large value outside the row is often not there, neither before nor after.
    let w_shown = if random.one_in(2) && !whole { "?" } else { &w };
    if random.one_in(4) {
        return Some(format!("{name}: del {id} {v} {w_shown}"));
    }
    let new_id = if random.one_in(3) { free_id(table, random).unwrap_or(id) } else { id };
    let new_v = if random.one_in(2) { second(table, random).unwrap_or_else(|| v.clone()) } else { v.clone() };
    let (new_w, new_w_shown) = if random.one_in(2) {
        (w.clone(), if whole { w.clone() } else { "?".to_owned() })
    } else {
        let value = random.value();
        (value.clone(), value)
    };
    let text = format!("{name}: upd {id} {v} {w_shown} > {new_id} {new_v} {new_w_shown}");
    table.insert(new_id, [new_v, new_w]);
    Some(text)
}

/// Rows of one statement that take each other's keys, in any order.
fn shifted(name: &str, table: &mut BTreeMap<usize, [String; 2]>, random: &mut Random) -> String {
    let old: Vec<(usize, [String; 2])> = std::mem::take(table).into_iter().collect();
    // Up by one, or down, and the last one takes the free place or the first one's.
    let (step, round) = (1 + random.below(old.len().max(1)), random.one_in(2));
    let key = |at: usize| match old.get(at + step) {
        Some((id, _)) => *id,
        None if round => old[(at + step) % old.len()].0,
        None => 100 + (at + step) % old.len(),
    };
    let mut changes: Vec<String> = Vec::new();
    for (at, (id, [v, w])) in old.iter().enumerate() {
        if key(at) != *id {
            changes.push(format!("{name}: upd {id} {v} {w} > {} {v} {w}", key(at)));
        }
        table.insert(key(at), [v.clone(), w.clone()]);
    }
    let mut text = String::new();
    while !changes.is_empty() {
        let change = changes.swap_remove(random.below(changes.len()));
        let end = if random.one_in(4) { "|" } else { ";" };
        let _fits = write!(text, "{change}{end}");
    }
    // So that they stay few.
    let high: Vec<usize> = table.keys().copied().filter(|id| *id >= 100).collect();
    for id in high {
        let [v, w] = table.remove(&id).expect("it is there");
        let _fits = write!(text, "{name}: del {id} {v} {w};");
    }
    text
}

/// A change of a table of which rows are compared whole. `p` has a key of all its columns: no row twice.
fn rows(
    name: &str,
    table: &mut Vec<String>,
    random: &mut Random,
    row: impl Fn(&mut Random) -> String,
) -> Option<String> {
    if random.one_in(40) {
        table.clear();
        return Some(format!("{name}: trunc"));
    }
    let new = row(random);
    let taken = name == "p" && table.contains(&new);
    let change = random.below(3);
    if table.is_empty() || change == 0 {
        if taken {
            return None;
        }
        table.push(new.clone());
        return Some(format!("{name}: ins {new}"));
    }
    let old = table.swap_remove(random.below(table.len()));
    if change == 1 || taken {
        return Some(format!("{name}: del {old}"));
    }
    table.push(new.clone());
    Some(format!("{name}: upd {old} > {new}"))
}
