//! Bytes by hand: what well-behaved clients never send, and how fast the server is when its client does nothing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::ClientConnection;

use logferry_mssql_standin::tds::Encryption;

use crate::all_types::utf16;
use crate::double::PASSWORD;
use crate::server;

const BATCH: u8 = 1;
const ATTENTION: u8 = 6;
const BULK_LOAD: u8 = 7;
const LOGIN: u8 = 16;
const PRELOGIN: u8 = 18;
pub const END: u8 = 1;
const IGNORE: u8 = 2;
const RESET: u8 = 8;

pub struct Bare {
    tcp: TcpStream,
    tls: Option<ClientConnection>,
}

impl Bare {
    /// Logged in, in the clear.
    pub fn new(address: SocketAddr, packet_size: u32) -> Self {
        let (mut bare, _) = Bare::connect(address, 2);
        bare.log_in(packet_size);
        bare
    }

    /// Connected, with what the server says of encryption to a client that says `encryption`.
    pub fn connect(address: SocketAddr, encryption: u8) -> (Self, u8) {
        let tcp = TcpStream::connect(address).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut bare = Bare { tcp, tls: None };
        bare.send(PRELOGIN, END, &[1, 0, 6, 0, 1, 0xFF, encryption]);
        let answer = bare.message();
        // The second option, after the five bytes of the version's.
        let offset = usize::from(u16::from_be_bytes([answer[6], answer[7]]));
        assert_eq!(answer[5], 1, "{answer:02x?}");
        (bare, answer[offset])
    }

    /// Does TLS's handshake, in packets.
    pub fn encrypt(&mut self, mut tls: ClientConnection) -> Result<(), rustls::Error> {
        while tls.is_handshaking() {
            let mut records = Vec::new();
            while tls.wants_write() {
                tls.write_tls(&mut records).unwrap();
            }
            if !records.is_empty() {
                self.send(PRELOGIN, END, &records);
            }
            if tls.is_handshaking() {
                let records = self.message();
                let mut records = &records[..];
                while !records.is_empty() {
                    tls.read_tls(&mut records).unwrap();
                    tls.process_new_packets()?;
                }
            }
        }
        self.tls = Some(tls);
        Ok(())
    }

    /// Goes on in the clear.
    pub fn decrypt(&mut self) {
        self.tls = None;
    }

    pub fn write(&mut self, data: &[u8]) {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.tcp).write_all(data).unwrap(),
            None => self.tcp.write_all(data).unwrap(),
        }
    }

    fn read(&mut self, data: &mut [u8]) -> std::io::Result<()> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.tcp).read_exact(data),
            None => self.tcp.read_exact(data),
        }
    }

    /// Sends the login.
    pub fn send_login(&mut self, packet_size: u32) {
        let mut login = vec![0; 94];
        login[4..8].copy_from_slice(&0x7400_0004_u32.to_le_bytes());
        login[8..12].copy_from_slice(&packet_size.to_le_bytes());
        let disguised: Vec<u8> = utf16(PASSWORD).iter().map(|byte| byte.rotate_left(4) ^ 0xA5).collect();
        for (at, bytes) in [(40, utf16("sa")), (44, disguised)] {
            let offset = login.len() as u16;
            login[at..at + 2].copy_from_slice(&offset.to_le_bytes());
            login[at + 2..at + 4].copy_from_slice(&(bytes.len() as u16 / 2).to_le_bytes());
            login.extend(bytes);
        }
        self.send(LOGIN, END, &login);
    }

    /// Logs in.
    pub fn log_in(&mut self, packet_size: u32) {
        self.send_login(packet_size);
        self.is_logged_in();
    }

    /// Reads what the server says to the login.
    pub fn is_logged_in(&mut self) {
        let answer = self.message();
        assert_eq!(answer[answer.len() - 13], 0xFD, "the login was refused");
    }

    fn send(&mut self, kind: u8, status: u8, data: &[u8]) {
        let length = (data.len() + 8) as u16;
        let [high, low] = length.to_be_bytes();
        self.write(&[&[kind, status, high, low, 0, 0, 1, 0], data].concat());
    }

    pub fn batch(&mut self, status: u8, sql: &str) {
        self.send(BATCH, status, &[&[4, 0, 0, 0][..], &utf16(sql)].concat());
    }

    /// Data of the next message; nothing where the connection has ended.
    pub fn message(&mut self) -> Vec<u8> {
        self.packets().concat()
    }

    /// The same, as the packets had it.
    fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            let mut header = [0; 8];
            if self.read(&mut header).is_err() {
                return Vec::new();
            }
            let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
            let mut data = vec![0; length - 8];
            self.read(&mut data).unwrap();
            packets.push(data);
            if header[1] & END != 0 {
                return packets;
            }
        }
    }

    /// Reads up to the end of an answer that ends with a count of rows; gives the number of bytes.
    pub fn throw_away(&mut self, rows: u64) -> u64 {
        let mut bytes = 0;
        let mut buffer = vec![0; 256 * 1024];
        let mut tail = Vec::new();
        while !tail.ends_with(&rows.to_le_bytes()) {
            let read = self.tcp.read(&mut buffer).unwrap();
            assert_ne!(read, 0, "the connection has ended");
            bytes += read as u64;
            tail.extend_from_slice(&buffer[read.saturating_sub(16)..read]);
            tail.drain(..tail.len().saturating_sub(16));
        }
        bytes
    }

    /// Whether the server still answers.
    pub fn works(&mut self) {
        self.batch(END, "SELECT 77");
        let answer = self.message();
        assert!(answer.windows(5).any(|window| window == [0xD1, 77, 0, 0, 0]), "{answer:02x?}");
    }
}

fn done(status: u8) -> Vec<u8> {
    let mut token = vec![0; 13];
    token[..2].copy_from_slice(&[0xFD, status]);
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_its_client_ignores_is_not_done() {
    let server = server(Encryption::Supported).await;
    let mut bare = Bare::new(server.address(), 4096);
    bare.batch(0, "BEGIN TRAN");
    bare.send(BATCH, END | IGNORE, &[]);
    assert_eq!(bare.message(), done(2));
    bare.batch(END, "SELECT @@TRANCOUNT");
    assert!(bare.message().windows(5).any(|window| window == [0xD1, 0, 0, 0, 0]));
}

/// Requests and answers of many packets, of every size that TDS has; what is outside is brought inside.
#[tokio::test(flavor = "multi_thread")]
async fn packets_are_as_large_as_was_agreed() {
    let server = server(Encryption::Supported).await;
    for (asked, size) in [(512, 512), (513, 513), (4096, 4096), (0, 4096), (100, 512), (32767, 32767), (65000, 32767)] {
        let mut bare = Bare::new(server.address(), asked);
        let text =
            [4, 0, 0, 0].into_iter().chain(utf16(&format!("{}SELECT 77", "SET A\n".repeat(8000)))).collect::<Vec<u8>>();
        let mut parts = text.chunks(size - 8).peekable();
        while let Some(part) = parts.next() {
            bare.send(BATCH, if parts.peek().is_none() { END } else { 0 }, part);
        }
        let answer = bare.packets();
        let (last, whole) = answer.split_last().expect("an answer");
        assert!(!whole.is_empty() && whole.iter().all(|packet| packet.len() == size - 8), "{asked}");
        assert!(last.len() <= size - 8, "{asked}");
        assert!(answer.concat().windows(5).any(|window| window == [0xD1, 77, 0, 0, 0]), "{asked}");
        bare.works();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attention_without_a_request_is_acknowledged() {
    let server = server(Encryption::Supported).await;
    let mut bare = Bare::new(server.address(), 4096);
    bare.send(ATTENTION, END, &[]);
    assert_eq!(bare.message(), done(0x20));
    bare.works();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_rolls_back_before_the_request() {
    let server = server(Encryption::Supported).await;
    let mut bare = Bare::new(server.address(), 4096);
    bare.batch(END, "BEGIN TRAN");
    bare.message();
    bare.batch(END | RESET, "SELECT @@TRANCOUNT");
    let answer = bare.message();
    assert!(answer.starts_with(&[0xE3, 3, 0, 18, 0, 0]), "no word of the reset: {answer:02x?}");
    assert!(answer.windows(5).any(|window| window == [0xD1, 0, 0, 0, 0]), "{answer:02x?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_done_is_an_error_and_what_is_not_tds_ends_the_connection() {
    let server = server(Encryption::Supported).await;
    let mut bare = Bare::new(server.address(), 4096);
    // A bulk load with a table in a column.
    bare.send(BULK_LOAD, END, &[0x81, 1, 0, 0, 0, 0, 0, 0, 0, 0xF3, 0, 0, 1, b't', 0, 0xFF, 0xFF, 0, 0]);
    let answer = bare.message();
    assert_eq!((answer[0], &answer[answer.len() - 13..]), (0xAA, &done(2)[..]));
    bare.works();
    for (kind, data) in
        [(99, vec![]), (BATCH, vec![1]), (BULK_LOAD, vec![1, 2, 3]), (3, vec![4, 0, 0, 0, 0xFF]), (14, vec![])]
    {
        let mut bare = Bare::new(server.address(), 4096);
        bare.send(kind, END, &data);
        assert!(bare.message().is_empty(), "a message of kind {kind} was answered");
    }
    let mut tls = TcpStream::connect(server.address()).unwrap();
    tls.write_all(&[0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).unwrap();
    // TLS from the first byte on is TDS 8.0; what is no ClientHello is told so in TLS, by an alert, and nothing comes behind it.
    let mut answer = [0; 64];
    let length = tls.read(&mut answer).unwrap_or(0);
    assert_eq!((length, answer[0]), (7, 0x15), "TLS without a ClientHello was answered: {:02x?}", &answer[..length]);
    assert_eq!(tls.read(&mut answer).unwrap_or(0), 0, "the connection is open after an alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_amid_its_answer_leaves_nothing_behind() {
    let server = server(Encryption::Supported).await;
    for sql in ["SELECT * FROM numbers(2000000000)", "WAITFOR"] {
        let mut bare = Bare::new(server.address(), 4096);
        bare.batch(END, sql);
        if sql != "WAITFOR" {
            bare.read(&mut [0; 1000]).unwrap();
        }
        drop(bare);
    }
    let started = Instant::now();
    while server.connections() > 0 {
        assert!(started.elapsed() < Duration::from_secs(10), "{} connections are still open", server.connections());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
