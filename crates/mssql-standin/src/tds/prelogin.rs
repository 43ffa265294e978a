//! PRELOGIN: versions, and whether to encrypt.
//!
//! ```text
//! ├ u8 option ┤ u16 offset, big-endian ┤ u16 length, big-endian ┤ ... ┤ 0xFF ┤ data of the options
//! ```
//!
//! Encryption is settled by this table (source: MS-TDS 2.2.6.5; client across, server down):
//!
//! ```text
//!                off          on        not supported     required
//! not supported  none         refused   none              refused     (the client ends it)
//! supported      login only   all       none              all
//! required       all          all       refused           all
//! ```

use logferry_mssql_format::bytes::{Result, slice, u8_at};

use super::wire::Reader;

/// Whether a server encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encryption {
    /// Never: passwords cross the net as good as in the clear.
    NotSupported,
    /// As the client likes; at least the login is encrypted, if the client can.
    #[default]
    Supported,
    /// Always: who cannot is refused.
    Required,
}

/// What was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreed {
    Nothing,
    LoginOnly,
    All,
    Refused,
}

/// The client's half.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Prelogin {
    encryption: u8,
    /// It asks whether it must bring a token of a federation.
    asks_federation: bool,
}

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTANCE: u8 = 2;
const THREAD: u8 = 3;
const MARS: u8 = 4;
const FEDERATION: u8 = 6;
const END: u8 = 0xFF;

const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

impl Prelogin {
    pub(super) fn parse(data: &[u8]) -> Result<Prelogin> {
        let mut prelogin = Prelogin { encryption: NOT_SUPPORTED, asks_federation: false };
        let mut options = Reader::new(data);
        loop {
            let option = options.u8("an option of the prelogin")?;
            if option == END {
                return Ok(prelogin);
            }
            let offset = u16::from_be_bytes(options.array("an option's offset")?);
            let length = u16::from_be_bytes(options.array("an option's length")?);
            slice(data, offset.into(), length.into(), "an option of the prelogin")?;
            match option {
                ENCRYPTION => prelogin.encryption = u8_at(data, offset.into(), "the encryption option")?,
                FEDERATION => prelogin.asks_federation = true,
                _ => {}
            }
        }
    }

    /// The answer's message, and what it settles.
    pub(super) fn answer(&self, server: Encryption, version: [u8; 4]) -> (Vec<u8>, Agreed) {
        let (word, agreed) = match (server, self.encryption) {
            (Encryption::NotSupported, ON | REQUIRED) => (NOT_SUPPORTED, Agreed::Refused),
            (Encryption::NotSupported, _) => (NOT_SUPPORTED, Agreed::Nothing),
            (_, ON | REQUIRED) => (ON, Agreed::All),
            (Encryption::Supported, OFF) => (OFF, Agreed::LoginOnly),
            (Encryption::Supported, _) => (NOT_SUPPORTED, Agreed::Nothing),
            (Encryption::Required, OFF) => (REQUIRED, Agreed::All),
            (Encryption::Required, _) => (REQUIRED, Agreed::Refused),
        };
        let [major, minor, build_high, build_low] = version;
        let version = [major, minor, build_high, build_low, 0, 0];
        let mut options: Vec<(u8, &[u8])> = vec![(VERSION, &version)];
        let word = [word];
        options.extend([(ENCRYPTION, &word[..]), (INSTANCE, &[0]), (THREAD, &[]), (MARS, &[0])]);
        if self.asks_federation {
            options.push((FEDERATION, &[0]));
        }
        let mut head = Vec::new();
        let mut data = Vec::new();
        for (option, value) in &options {
            let offset = (options.len() * 5 + 1 + data.len()) as u16;
            head.push(*option);
            head.extend_from_slice(&offset.to_be_bytes());
            head.extend_from_slice(&(value.len() as u16).to_be_bytes());
            data.extend_from_slice(value);
        }
        head.push(END);
        head.extend_from_slice(&data);
        (head, agreed)
    }
}

#[cfg(test)]
mod tests {
    use logferry_mssql_format::bytes::array;

    use super::*;

    fn version_of(data: &[u8]) -> [u8; 4] {
        let [_, high, low] = array(data, 0, "the first option").unwrap();
        array(data, u16::from_be_bytes([high, low]).into(), "the version").unwrap()
    }

    fn client(encryption: u8) -> Vec<u8> {
        let mut data = vec![VERSION, 0, 16, 0, 6, ENCRYPTION, 0, 22, 0, 1, FEDERATION, 0, 23, 0, 1, END];
        data.extend_from_slice(&[0; 6]);
        data.extend_from_slice(&[encryption, 1]);
        data
    }

    #[track_caller]
    fn check(server: Encryption, client_says: u8, answer: u8, expect: Agreed) {
        let prelogin = Prelogin::parse(&client(client_says)).unwrap();
        let (message, agreed) = prelogin.answer(server, [16, 0, 4, 1]);
        assert_eq!(agreed, expect, "{server:?} and a client that says {client_says}");
        assert_eq!(Prelogin::parse(&message).unwrap(), Prelogin { encryption: answer, asks_federation: true });
        assert_eq!(version_of(&message), [16, 0, 4, 1]);
    }

    #[test]
    fn encryption_is_settled_by_both() {
        check(Encryption::NotSupported, OFF, NOT_SUPPORTED, Agreed::Nothing);
        check(Encryption::NotSupported, ON, NOT_SUPPORTED, Agreed::Refused);
        check(Encryption::NotSupported, NOT_SUPPORTED, NOT_SUPPORTED, Agreed::Nothing);
        check(Encryption::Supported, OFF, OFF, Agreed::LoginOnly);
        check(Encryption::Supported, ON, ON, Agreed::All);
        check(Encryption::Supported, REQUIRED, ON, Agreed::All);
        check(Encryption::Supported, NOT_SUPPORTED, NOT_SUPPORTED, Agreed::Nothing);
        check(Encryption::Required, OFF, REQUIRED, Agreed::All);
        check(Encryption::Required, NOT_SUPPORTED, REQUIRED, Agreed::Refused);
    }

    #[test]
    fn cut_or_without_an_end_is_an_error() {
        let whole = client(ON);
        for len in 0..whole.len() - 1 {
            assert!(Prelogin::parse(&whole[..len]).is_err(), "{len} bytes");
        }
    }
}
