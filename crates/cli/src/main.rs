//! The binary `logferry`.
fn main() {}
