//! LOGIN7: who connects, to what, and how.
//!
//! ```text
//!  0 u32 length   4 u32 TDS version   8 u32 packet size   12 u32 client version   16 u32 process   20 u32 connection
//! 24 u8 ×4 flags  28 i32 time zone    32 u32 LCID
//! 36 offset and length, u16 each, of: host, user, password, application, server, extension (one u32: where the
//!    features are), library, language, database     72 6 bytes of client id    78 SSPI, file, new password, u32
//! ```
//!
//! Lengths count UTF-16 units. The password is only disguised: each byte has its halves swapped and is XORed with `0xA5`.
//! Source: MS-TDS 2.2.6.4.

use std::fmt;

use logferry_mssql_format::bytes::{Result, slice, u8_at, u16_at, u32_at};

use super::wire::{Reader, utf16};

/// What a client says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name for SQL authentication.
    pub user: String,
    /// Its password.
    pub password: Password,
    /// An access token in the place of both (FEDAUTH, security token library).
    pub token: Option<Password>,
    /// The database asked for; empty: the user's default.
    pub database: String,
    /// `APP_NAME()`
    pub application: String,
    /// `HOST_NAME()`
    pub host: String,
    /// The server's name as the client spells it.
    pub server: String,
    /// The client library.
    pub library: String,
    /// The language asked for; empty: the user's default.
    pub language: String,
    /// Says that it only reads (`ApplicationIntent=ReadOnly`).
    pub read_only: bool,
    /// TDS version, e.g. `0x74000004`.
    pub(super) tds_version: u32,
    /// The packet size asked for; 0: the server's.
    pub(super) packet_size: u32,
    /// It wants to authenticate as Windows does, or by a token that it does not have yet, which we cannot.
    pub(super) integrated: bool,
    /// A ticket of Kerberos, or what else Windows authenticates by.
    pub(super) ticket: Vec<u8>,
    /// Who has shown a ticket that was accepted: `user@REALM`.
    pub principal: Option<String>,
    /// It can take UTF-8 for `varchar`.
    pub(super) utf8: bool,
}

/// A password that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(pub String);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

const INTEGRATED: u8 = 0x80;
const READ_ONLY: u8 = 0x20;
const EXTENSION: u8 = 0x10;

pub(super) const FEDERATION: u8 = 0x02;
/// Feature by which clients say that they take UTF-8.
pub(super) const UTF8_SUPPORT: u8 = 0x0A;
const LAST_FEATURE: u8 = 0xFF;

impl Login {
    pub(super) fn parse(data: &[u8]) -> Result<Login> {
        let field = |at: usize| -> Result<&[u8]> {
            let offset = u16_at(data, at, "a field's offset")?;
            let units = u16_at(data, at + 2, "a field's length")?;
            if units == 0 {
                return Ok(&[]);
            }
            slice(data, offset.into(), usize::from(units) * 2, "a field of the login")
        };
        let text = |at| field(at).map(utf16);
        let mut password = field(44)?.to_vec();
        for byte in &mut password {
            *byte = (*byte ^ 0xA5).rotate_left(4);
        }
        let type_flags = u8_at(data, 26, "the login's type flags")?;
        let flags3 = u8_at(data, 27, "the login's third flags")?;
        let mut login = Login {
            user: text(40)?,
            password: Password(utf16(&password)),
            token: None,
            database: text(68)?,
            application: text(48)?,
            host: text(36)?,
            server: text(52)?,
            library: text(60)?,
            language: text(64)?,
            read_only: type_flags & READ_ONLY != 0,
            tds_version: u32_at(data, 4, "the TDS version")?,
            packet_size: u32_at(data, 8, "the packet size")?,
            integrated: u8_at(data, 25, "the login's second flags")? & INTEGRATED != 0,
            ticket: ticket(data)?.to_vec(),
            principal: None,
            utf8: false,
        };
        if flags3 & EXTENSION != 0 {
            let at = u16_at(data, 56, "the extension's offset")?;
            let features = u32_at(data, at.into(), "where the features are")?;
            login.features(data.get(features as usize..).unwrap_or_default())?;
        }
        Ok(login)
    }

    fn features(&mut self, data: &[u8]) -> Result<()> {
        let mut features = Reader::new(data);
        loop {
            let feature = features.u8("a feature's id")?;
            if feature == LAST_FEATURE {
                return Ok(());
            }
            let length = features.u32("a feature's length")?;
            let value = features.bytes(length as usize, "a feature")?;
            match feature {
                UTF8_SUPPORT => self.utf8 = value.first().is_none_or(|wanted| wanted & 1 != 0),
                FEDERATION => match token(value) {
                    Some(token) => self.token = Some(Password(token)),
                    None => self.integrated = true,
                },
                // Session recovery, column encryption and the rest: not acknowledged is declined.
                _ => {}
            }
        }
    }
}

/// The SSPI field. Longer than its own length can say, it has one at the end of the head.
fn ticket(data: &[u8]) -> Result<&[u8]> {
    let offset = u16_at(data, 78, "the ticket's offset")?;
    let length = match u16_at(data, 80, "the ticket's length")? {
        u16::MAX => u32_at(data, 90, "the ticket's long length")?,
        short => u32::from(short),
    };
    if length == 0 {
        return Ok(&[]);
    }
    slice(data, offset.into(), length as usize, "the ticket")
}

/// The token of a FEDAUTH feature: options (library in the upper seven bits), length, UTF-16. MS-TDS 2.2.6.4, FEDAUTH.
fn token(value: &[u8]) -> Option<String> {
    const SECURITY_TOKEN: u8 = 1;
    let (options, rest) = value.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let token = rest.get(..u32::from_le_bytes(*length) as usize)?;
    (options >> 1 == SECURITY_TOKEN).then(|| utf16(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A login with these texts, as clients lay it out.
    fn login(texts: [&str; 9], features: &[u8]) -> Vec<u8> {
        let mut data = vec![0; 94];
        data[4..8].copy_from_slice(&0x7400_0004_u32.to_le_bytes());
        data[8..12].copy_from_slice(&8000_u32.to_le_bytes());
        data[27] = EXTENSION;
        for (index, text) in texts.iter().enumerate() {
            let at = 36 + 4 * index;
            let offset = data.len() as u16;
            let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
            data[at..at + 2].copy_from_slice(&offset.to_le_bytes());
            if index == 5 {
                let features_at = u32::from(offset) + 4;
                data.extend_from_slice(&features_at.to_le_bytes());
                data.extend_from_slice(features);
                continue;
            }
            data[at + 2..at + 4].copy_from_slice(&(text.encode_utf16().count() as u16).to_le_bytes());
            if index == 2 {
                data.extend(bytes.iter().map(|byte| byte.rotate_left(4) ^ 0xA5));
            } else {
                data.extend(bytes);
            }
        }
        data
    }

    const TEXTS: [&str; 9] =
        ["host", "sa", "pä$$wörd😀", "app", "server,1433", "", "library", "us_english", "Nürnberg"];

    #[test]
    fn all_fields_are_read() {
        let data = login(TEXTS, &[1, 0, 0, 0, 0, UTF8_SUPPORT, 1, 0, 0, 0, 1, 0xFF]);
        let login = Login::parse(&data).unwrap();
        let expect = Login {
            user: "sa".into(),
            password: Password("pä$$wörd😀".into()),
            database: "Nürnberg".into(),
            application: "app".into(),
            host: "host".into(),
            server: "server,1433".into(),
            library: "library".into(),
            language: "us_english".into(),
            read_only: false,
            tds_version: 0x7400_0004,
            packet_size: 8000,
            token: None,
            integrated: false,
            ticket: Vec::new(),
            principal: None,
            utf8: true,
        };
        assert_eq!(login, expect);
        assert!(!format!("{login:?}").contains("pä$$"));
    }

    #[test]
    fn cut_anywhere_is_an_error_never_a_panic() {
        let data = login(TEXTS, &[1, 0, 0, 0, 0, 0xFF]);
        for len in 0..data.len() {
            assert!(Login::parse(&data[..len]).is_err(), "{len} of {} bytes", data.len());
        }
    }
}
