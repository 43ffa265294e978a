//! The tokens of an answer. Source: MS-TDS 2.2.7.

use logferry_model::{Collation, SqlType};

use super::collation::to_wire;
use super::session::{Column, SqlError};
use super::value::{Form, put_type};
use super::wire::{put_long_text, put_short_text};

pub(super) const ROW: u8 = 0xD1;
pub(super) const ROW_WITH_NULLS: u8 = 0xD2;
const COLUMNS: u8 = 0x81;
const RETURN_STATUS: u8 = 0x79;
const ERROR: u8 = 0xAA;
const INFO: u8 = 0xAB;
const RETURN_VALUE: u8 = 0xAC;
const LOGIN_ACK: u8 = 0xAD;
const FEATURES: u8 = 0xAE;
const SSPI: u8 = 0xED;
const ENVIRONMENT: u8 = 0xE3;

/// Which of the three tokens that end something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DoneOf {
    /// A statement of a batch, or the whole answer.
    Batch = 0xFD,
    /// A procedure.
    Procedure = 0xFE,
    /// A statement in a procedure.
    Statement = 0xFF,
}

/// Something is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Done {
    pub(super) of: DoneOf,
    pub(super) error: bool,
    /// It answers an attention.
    pub(super) attention: bool,
    pub(super) rows: Option<u64>,
}

impl Done {
    pub(super) fn new(of: DoneOf) -> Self {
        Done { of, error: false, attention: false, rows: None }
    }

    /// `more`: it is not the last of the answer. (The bit for an open transaction is never set, as by SQL Server since 2005.)
    pub(super) fn put(self, more: bool, out: &mut Vec<u8>) {
        let bit = |set: bool, bit: u16| if set { bit } else { 0 };
        let status =
            bit(more, 0x01) | bit(self.error, 0x02) | bit(self.rows.is_some(), 0x10) | bit(self.attention, 0x20);
        out.push(self.of as u8);
        out.extend_from_slice(&status.to_le_bytes());
        out.extend_from_slice(&0_u16.to_le_bytes());
        out.extend_from_slice(&self.rows.unwrap_or(0).to_le_bytes());
    }
}

/// An error, or a message where its class is 10 or less.
pub(super) fn put_error(error: &SqlError, server: &str, out: &mut Vec<u8>) {
    out.push(if error.class <= 10 { INFO } else { ERROR });
    with_length(out, |out| {
        out.extend_from_slice(&error.number.to_le_bytes());
        out.extend_from_slice(&[error.state, error.class]);
        // So that the token's length cannot pass its two bytes.
        put_long_text(error.message.get(..20_000).unwrap_or(&error.message), out);
        put_short_text(server, out);
        put_short_text(&error.procedure, out);
        out.extend_from_slice(&error.line.to_le_bytes());
    });
}

/// LOGINACK. The client's version comes back to it where it is older than ours.
pub(super) fn put_login_ack(tds_version: u32, program: &str, version: [u8; 4], out: &mut Vec<u8>) {
    out.push(LOGIN_ACK);
    with_length(out, |out| {
        out.push(1);
        out.extend_from_slice(&tds_version.to_be_bytes());
        put_short_text(program, out);
        out.extend_from_slice(&version);
    });
}

/// SSPI: a word of Kerberos.
pub(super) fn put_sspi(data: &[u8], out: &mut Vec<u8>) {
    out.push(SSPI);
    out.extend_from_slice(&(data.len() as u16).to_le_bytes());
    out.extend_from_slice(data);
}

/// FEATUREEXTACK of features with their data.
pub(super) fn put_features(features: &[(u8, &[u8])], out: &mut Vec<u8>) {
    out.push(FEATURES);
    for (feature, data) in features {
        out.push(*feature);
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(data);
    }
    out.push(0xFF);
}

pub(super) const DATABASE: u8 = 1;
pub(super) const LANGUAGE: u8 = 2;
pub(super) const PACKET_SIZE: u8 = 4;
pub(super) const BEGAN: u8 = 8;
pub(super) const COMMITTED: u8 = 9;
pub(super) const ROLLED_BACK: u8 = 10;
const COLLATION: u8 = 7;
const WAS_RESET: u8 = 18;

/// ENVCHANGE of a text.
pub(super) fn put_environment(what: u8, old: &str, new: &str, out: &mut Vec<u8>) {
    out.push(ENVIRONMENT);
    with_length(out, |out| {
        out.push(what);
        put_short_text(new, out);
        put_short_text(old, out);
    });
}

/// ENVCHANGE of the server's collation.
pub(super) fn put_collation(collation: Collation, out: &mut Vec<u8>) {
    out.push(ENVIRONMENT);
    with_length(out, |out| {
        out.extend_from_slice(&[COLLATION, 5]);
        out.extend_from_slice(&to_wire(collation));
        out.push(0);
    });
}

/// ENVCHANGE of a transaction: begun ones are the new value, ended ones the old.
pub(super) fn put_transaction(what: u8, descriptor: u64, out: &mut Vec<u8>) {
    out.push(ENVIRONMENT);
    with_length(out, |out| {
        out.push(what);
        if what == BEGAN {
            out.push(8);
            out.extend_from_slice(&descriptor.to_le_bytes());
            out.push(0);
        } else {
            out.extend_from_slice(&[0, 8]);
            out.extend_from_slice(&descriptor.to_le_bytes());
        }
    });
}

/// ENVCHANGE: the session was reset.
pub(super) fn put_was_reset(out: &mut Vec<u8>) {
    out.extend_from_slice(&[ENVIRONMENT, 3, 0, WAS_RESET, 0, 0]);
}

pub(super) fn put_return_status(status: i32, out: &mut Vec<u8>) {
    out.push(RETURN_STATUS);
    out.extend_from_slice(&status.to_le_bytes());
}

/// RETURNVALUE up to its type; the value follows.
pub(super) fn put_return_value(ordinal: u16, name: &str, sql_type: &SqlType, utf8: bool, out: &mut Vec<u8>) -> Form {
    out.push(RETURN_VALUE);
    out.extend_from_slice(&ordinal.to_le_bytes());
    put_short_text(name, out);
    out.push(1);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&1_u16.to_le_bytes());
    put_type(sql_type, true, utf8, out)
}

/// COLMETADATA; the forms of the cells go to `forms`.
pub(super) fn put_columns(columns: &[Column], utf8: bool, forms: &mut Vec<Form>, out: &mut Vec<u8>) {
    const ROW_VERSION: u32 = 80;
    forms.clear();
    out.push(COLUMNS);
    out.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    for column in columns {
        let user_type = if column.sql_type == SqlType::RowVersion { ROW_VERSION } else { 0 };
        out.extend_from_slice(&u32::to_le_bytes(user_type));
        let read_only = column.identity || column.computed || column.sql_type == SqlType::RowVersion;
        let bit = |set: bool, at: u16| u16::from(set) << at;
        let flags = bit(column.nullable, 0) | bit(!read_only, 3) | bit(column.identity, 4) | bit(column.computed, 5);
        out.extend_from_slice(&flags.to_le_bytes());
        forms.push(put_type(&column.sql_type, column.nullable, utf8, out));
        if matches!(column.sql_type, SqlType::Text { .. } | SqlType::NText { .. } | SqlType::Image) {
            match &column.table {
                Some((schema, table)) => {
                    out.push(2);
                    put_long_text(schema, out);
                    put_long_text(table, out);
                }
                None => out.push(0),
            }
        }
        put_short_text(&column.name, out);
    }
}

fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 2]);
    write(out);
    let length = (out.len() - start - 2) as u16;
    out[start..start + 2].copy_from_slice(&length.to_le_bytes());
}
