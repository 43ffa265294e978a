#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| logferry_fuzz::run("compressed_row", data));
