//! Against the stand-in: everything goes over TCP, TLS and TDS.

mod cdc;
mod condition;
mod copy;
mod documented;
mod faults;
mod hybrid;
mod keyless;
mod log;
mod polling;
mod session;
mod truncation;
mod unseen;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logferry_model::Fault;
use logferry_mssql_live::{Address, Conditions, LiveSource, Mode, Settings, Trust};
use logferry_mssql_standin::serve::Standin;

/// A stand-in with a database `shop`, and what a batch made in it.
pub fn standin(batch: &str) -> Standin {
    let standin = Standin::start().expect("a stand-in starts");
    standin.batch("CREATE DATABASE shop").expect("a database is made");
    standin.batch(&format!("USE shop; {batch}")).unwrap_or_else(|e| panic!("{batch}: {e}"));
    standin
}

/// Settings that lead to it.
pub fn settings(standin: &Standin) -> Settings {
    Settings {
        host: "127.0.0.1".to_owned(),
        address: Address::Port(standin.address().port()),
        database: "shop".to_owned(),
        user: standin.user().to_owned(),
        password: standin.password().to_owned(),
        token: None,
        application: "logferry test".to_owned(),
        trust: Trust::Any,
        certificate_name: None,
        strict: false,
        read_only: false,
        connect_timeout: Duration::from_secs(10),
        answer_timeout: Duration::from_secs(60),
        connections_max: 8,
        conditions: Conditions::default(),
    }
}

/// A source that copies all tables.
pub async fn open(settings: Settings, chunk_bytes: u64) -> Result<LiveSource, Fault> {
    LiveSource::open(settings, Mode::Snapshot, chunk_bytes, Arc::new(|_| true)).await.map_err(Fault::from)
}

/// Writes a certificate as PEM.
pub fn write_pem(path: &Path, der: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for chunk in der.chunks(3) {
        let bits = chunk.iter().chain(&[0, 0]).take(3).fold(0u32, |bits, &b| bits << 8 | u32::from(b));
        for at in 0..4 {
            let digit = char::from(ALPHABET[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    text.push_str("\n-----END CERTIFICATE-----\n");
    std::fs::write(path, text).expect("the file is written");
}
