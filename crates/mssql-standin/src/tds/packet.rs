//! Messages as packets, and packets as messages.
//!
//! ```text
//! ├ u8 kind ┤ u8 status ┤ u16 length, BIG-endian, with these 8 bytes ┤ u16 SPID, big-endian ┤ u8 id ┤ u8 0 ┤ data
//! ```
//!
//! A message is the data of its packets, put together; the last one has the end-of-message bit. A token may lie across packets
//! at any byte. Sans-I/O: bytes are fed as they come, messages are taken out. Source: MS-TDS 2.2.3.

use logferry_mssql_format::bytes::{Malformed, Result, array};

/// Bytes of a packet's header.
pub(super) const HEADER: usize = 8;
/// The size that a session begins with.
pub(super) const DEFAULT_SIZE: usize = 4096;
/// The least and the greatest size that may be asked for.
pub(super) const SIZES: std::ops::RangeInclusive<usize> = 512..=32767;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(pub(super) u8);

impl Kind {
    pub(super) const BATCH: Kind = Kind(1);
    pub(super) const RPC: Kind = Kind(3);
    pub(super) const RESPONSE: Kind = Kind(4);
    pub(super) const ATTENTION: Kind = Kind(6);
    pub(super) const BULK_LOAD: Kind = Kind(7);
    pub(super) const TRANSACTION: Kind = Kind(14);
    pub(super) const LOGIN: Kind = Kind(16);
    pub(super) const PRELOGIN: Kind = Kind(18);

    /// With TDS 4's login (2), tokens of a federation (8) and SSPI (17), which are known and not served.
    fn is_of_a_client(self) -> bool {
        matches!(self.0, 1..=3 | 6..=8 | 14 | 16..=18)
    }
}

const END: u8 = 0x01;
const IGNORE: u8 = 0x02;
const RESET: u8 = 0x08;
const RESET_KEEP_TRANSACTION: u8 = 0x10;

/// What the client asks to happen before the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) enum Reset {
    #[default]
    No,
    Session,
    SessionButTransaction,
}

/// A whole message of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kind: Kind,
    pub(super) reset: Reset,
    /// The client thought better of it while sending: nothing is to be done.
    pub(super) ignored: bool,
    pub(super) data: Vec<u8>,
}

/// Puts messages together.
pub(super) struct Assembler {
    fed: Vec<u8>,
    taken: usize,
    open: Option<Message>,
    /// Greatest length of a message: above it the client is not served.
    message_max: usize,
}

impl Assembler {
    pub(super) fn new(message_max: usize) -> Self {
        Assembler { fed: Vec::new(), taken: 0, open: None, message_max }
    }

    /// Room to read into; say with [`Assembler::feed`] what has been appended.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.taken == self.fed.len() {
            self.fed.clear();
        } else {
            self.fed.drain(..self.taken);
        }
        self.taken = 0;
        self.fed.extend_from_slice(bytes);
    }

    /// The next message; `None`: feed more.
    pub(super) fn next(&mut self) -> Result<Option<Message>> {
        loop {
            let rest = self.fed.get(self.taken..).unwrap_or_default();
            if rest.len() < HEADER {
                return Ok(None);
            }
            let [kind, status, high, low, ..] = array::<HEADER>(rest, 0, "a packet's header")?;
            let kind = Kind(kind);
            if !kind.is_of_a_client() {
                return Err(Malformed::new(format!("a packet of kind {}", kind.0), 0));
            }
            let length = usize::from(u16::from_be_bytes([high, low]));
            if length < HEADER || length > *SIZES.end() {
                return Err(Malformed::new(format!("a packet of {length} bytes"), 2));
            }
            let Some(data) = rest.get(HEADER..length) else { return Ok(None) };
            // An attention is a message of its own, even amid another one that is then given up.
            if self.open.as_ref().is_some_and(|open| open.kind != kind) {
                self.open = None;
            }
            let message = self.open.get_or_insert_with(|| Message {
                kind,
                reset: reset(status),
                ignored: false,
                data: Vec::new(),
            });
            if message.data.len() + data.len() > self.message_max {
                return Err(Malformed::new(format!("a message of more than {} bytes", self.message_max), 0));
            }
            message.data.extend_from_slice(data);
            message.ignored |= status & IGNORE != 0;
            self.taken += length;
            if status & END != 0 {
                return Ok(self.open.take());
            }
        }
    }
}

fn reset(status: u8) -> Reset {
    match (status & RESET != 0, status & RESET_KEEP_TRANSACTION != 0) {
        (_, true) => Reset::SessionButTransaction,
        (true, false) => Reset::Session,
        (false, false) => Reset::No,
    }
}

/// Cuts a growing message into packets.
pub(super) struct Packetizer {
    kind: Kind,
    size: usize,
    spid: u16,
    id: u8,
}

impl Packetizer {
    /// Packets of at most `size` bytes, headers and all.
    pub(super) fn new(kind: Kind, size: usize, spid: u16) -> Self {
        Packetizer { kind, size, spid, id: 0 }
    }

    /// Moves all full packets of `payload` to `out`. What is left stays: there is always a rest for [`Packetizer::finish`].
    pub(super) fn full_packets(&mut self, payload: &mut Vec<u8>, out: &mut Vec<u8>) {
        let room = self.size - HEADER;
        let mut at = 0;
        while payload.len() - at > room {
            self.packet(&payload[at..at + room], 0, out);
            at += room;
        }
        payload.drain(..at);
    }

    /// The rest as the last packets of the message.
    pub(super) fn finish(&mut self, payload: &mut Vec<u8>, out: &mut Vec<u8>) {
        self.full_packets(payload, out);
        self.packet(payload, END, out);
        payload.clear();
    }

    /// The rest, and more is to come: for an answer that is cut on purpose.
    pub(super) fn unfinished(&mut self, payload: &mut Vec<u8>, out: &mut Vec<u8>) {
        self.full_packets(payload, out);
        self.packet(payload, 0, out);
        payload.clear();
    }

    fn packet(&mut self, data: &[u8], status: u8, out: &mut Vec<u8>) {
        self.id = self.id.wrapping_add(1);
        let length = (data.len() + HEADER) as u16;
        let [spid_high, spid_low] = self.spid.to_be_bytes();
        let [high, low] = length.to_be_bytes();
        out.extend_from_slice(&[self.kind.0, status, high, low, spid_high, spid_low, self.id, 0]);
        out.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_message_in_packets_of_any_size_fed_in_any_pieces_comes_back(
            data in proptest::collection::vec(any::<u8>(), 0..5000),
            size in 512_usize..=32767,
            piece in 1_usize..2000,
        ) {
            let mut sent = Vec::new();
            let mut packets = Packetizer::new(Kind::BATCH, size, 51);
            for _ in 0..2 {
                packets.finish(&mut data.clone(), &mut sent);
            }
            let mut assembler = Assembler::new(10_000);
            let mut back = Vec::new();
            for piece in sent.chunks(piece) {
                assembler.feed(piece);
                while let Some(message) = assembler.next().unwrap() {
                    back.push(message);
                }
            }
            let message = || Message { kind: Kind::BATCH, reset: Reset::No, ignored: false, data: data.clone() };
            prop_assert_eq!(back, [message(), message()]);
        }

        #[test]
        fn hostile_bytes_are_an_error_or_a_message(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut assembler = Assembler::new(1000);
            assembler.feed(&data);
            while let Ok(Some(_)) = assembler.next() {}
        }
    }

    #[test]
    fn a_message_that_grows_too_long_is_refused() {
        let mut sent = Vec::new();
        Packetizer::new(Kind::BATCH, 512, 0).finish(&mut vec![0; 1001], &mut sent);
        let mut assembler = Assembler::new(1000);
        assembler.feed(&sent);
        assert!(assembler.next().unwrap_err().to_string().contains("more than 1000 bytes"));
    }

    #[test]
    fn status_bits_are_read() {
        let mut assembler = Assembler::new(100);
        assembler.feed(&[1, 0x09, 0, 8, 0, 0, 1, 0, 1, 0x10, 0, 9, 0, 0, 1, 0, 7, 1, 3, 0, 8, 0, 0, 2, 0]);
        let mut next = || assembler.next().unwrap();
        assert_eq!(next(), Some(Message { kind: Kind::BATCH, reset: Reset::Session, ignored: false, data: vec![] }));
        let reset = Reset::SessionButTransaction;
        assert_eq!(next(), Some(Message { kind: Kind::BATCH, reset, ignored: true, data: vec![7] }));
        assert_eq!(next(), None);
    }
}
