//! Rows per second through a plan.

fn main() {
    divan::main();
}
