//! Hostile bytes for every decoder.
//!
//! A [`Target`] feeds bytes to one decoder and reads everything that it gives: it may find errors, it must not panic,
//! loop or take memory without bound. Its seeds come from the project's own encoders, so that inputs get past the first
//! check. Two things drive the targets: `tests/hostile.rs`, a bounded and repeatable run that is part of the test
//! suite; and `libfuzzer/run`, under coverage guidance. What that finds is kept in `corpus/`, and tried again by every test run.

pub mod corpus;
pub mod mutate;
mod seeds;
mod targets;

pub use targets::TARGETS;

/// A decoder under attack.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Feeds it: errors are swallowed, a panic is a finding.
    pub run: fn(&[u8]),
    /// Sound inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Feeds the target of that name.
///
/// # Panics
/// When there is no such target, and when the decoder has a defect.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|t| t.name == name).expect("the name of a target");
    (target.run)(data);
}
