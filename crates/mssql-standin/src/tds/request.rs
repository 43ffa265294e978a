//! Requests out of messages. Source: MS-TDS 2.2.6.6 (RPC), 2.2.6.7 (batch), 2.2.6.9 (transactions), 2.2.5.3 (headers).

use logferry_model::SqlType;
use logferry_mssql_format::bytes::Result;

use super::session::{Isolation, Parameter, Transaction};
use super::value::{SentType, read_cell, read_type};
use super::wire::{Reader, utf16};

/// A call, as it came.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    pub(super) procedure: Procedure,
    pub(super) parameters: Vec<Parameter>,
}

/// What is called: the well-known ones by a number or their name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Procedure {
    ExecuteSql,
    Prepare,
    Execute,
    PrepareExecute,
    Unprepare,
    /// One of those that have a number, which we have not.
    Unknown(u16),
    Named(String),
}

impl Procedure {
    fn of_number(number: u16) -> Self {
        match number {
            10 => Procedure::ExecuteSql,
            11 => Procedure::Prepare,
            12 => Procedure::Execute,
            13 => Procedure::PrepareExecute,
            15 => Procedure::Unprepare,
            _ => Procedure::Unknown(number),
        }
    }

    fn of_name(name: String) -> Self {
        let plain = name.to_ascii_lowercase().replace(['[', ']'], "");
        match plain.rsplit('.').next().unwrap_or_default() {
            "sp_executesql" => Procedure::ExecuteSql,
            "sp_prepare" => Procedure::Prepare,
            "sp_execute" => Procedure::Execute,
            "sp_prepexec" => Procedure::PrepareExecute,
            "sp_unprepare" => Procedure::Unprepare,
            _ => Procedure::Named(name),
        }
    }

    /// Of those with a number, as errors name them.
    pub(super) fn name_of(number: u16) -> &'static str {
        match number {
            1 => "sp_cursor",
            2 => "sp_cursoropen",
            3 => "sp_cursorprepare",
            4 => "sp_cursorexecute",
            5 => "sp_cursorprepexec",
            6 => "sp_cursorunprepare",
            7 => "sp_cursorfetch",
            8 => "sp_cursoroption",
            9 => "sp_cursorclose",
            14 => "sp_prepexecrpc",
            _ => "unknown",
        }
    }
}

/// What a message of RPCs holds.
#[derive(Debug, PartialEq)]
pub(super) enum Calls {
    All(Vec<Call>),
    /// It has a parameter that we cannot take.
    Refused(&'static str),
}

/// A batch's text.
pub(super) fn batch(data: &[u8]) -> Result<String> {
    let mut from = Reader::new(data);
    headers(&mut from)?;
    Ok(utf16(from.rest()))
}

/// Transaction descriptors, notifications, activity ids: all said already or not ours.
fn headers(from: &mut Reader<'_>) -> Result<()> {
    let total = from.u32("the length of the headers")?;
    match total.checked_sub(4) {
        Some(rest) => from.bytes(rest as usize, "the headers").map(drop),
        None => from.fail(format!("headers of {total} bytes")),
    }
}

/// The calls of an RPC message.
pub(super) fn calls(data: &[u8]) -> Result<Calls> {
    const NEXT: [u8; 2] = [0xFF, 0xFE];
    const BY_REFERENCE: u8 = 0x01;
    const DEFAULT: u8 = 0x02;
    const ENCRYPTED: u8 = 0x08;
    let mut from = Reader::new(data);
    headers(&mut from)?;
    let mut calls = Vec::new();
    while !from.is_empty() {
        let procedure = match from.u16("the length of a procedure's name")? {
            0xFFFF => Procedure::of_number(from.u16("a procedure's number")?),
            units => Procedure::of_name(from.text(units.into(), "a procedure's name")?),
        };
        from.u16("a call's options")?;
        let mut parameters = Vec::new();
        while let Some(first) = from.peek() {
            if NEXT.contains(&first) && !is_name(&from) {
                from.u8("the mark of the next call")?;
                break;
            }
            let name = from.short_text("a parameter's name")?;
            let status = from.u8("a parameter's status")?;
            if status & ENCRYPTED != 0 {
                return Ok(Calls::Refused("an encrypted parameter"));
            }
            let (sql_type, form) = match read_type(&mut from)? {
                SentType::Of(sql_type, form) => (sql_type, form),
                SentType::Table(table) => {
                    let default = status & DEFAULT != 0;
                    let (sql_type, table) = (SqlType::Clr, Some(table));
                    parameters.push(Parameter { name, sql_type, value: None, output: false, default, table });
                    continue;
                }
                SentType::Refused(what) => return Ok(Calls::Refused(what)),
            };
            let value = read_cell(&sql_type, form, &mut from)?;
            let (output, default) = (status & BY_REFERENCE != 0, status & DEFAULT != 0);
            parameters.push(Parameter { name, sql_type, value, output, default, table: None });
        }
        calls.push(Call { procedure, parameters });
    }
    Ok(Calls::All(calls))
}

/// Names have at most 128 units, so 0xFE and 0xFF never begin one.
fn is_name(from: &Reader<'_>) -> bool {
    from.peek().is_some_and(|units| units <= 128)
}

/// A request of the transaction manager; `None`: one of distributed transactions.
pub(super) fn transaction(data: &[u8]) -> Result<Option<Transaction>> {
    const BEGIN: u16 = 5;
    const COMMIT: u16 = 7;
    const ROLLBACK: u16 = 8;
    const SAVE: u16 = 9;
    let mut from = Reader::new(data);
    headers(&mut from)?;
    let kind = from.u16("what to do with the transaction")?;
    Ok(Some(match kind {
        BEGIN => {
            let (isolation, name) = begin(&mut from)?;
            Transaction::Begin { isolation, name }
        }
        COMMIT => Transaction::Commit { name: name(&mut from)?, then_begin: then_begin(&mut from)? },
        ROLLBACK => Transaction::Rollback { name: name(&mut from)?, then_begin: then_begin(&mut from)? },
        SAVE => Transaction::Save { name: name(&mut from)? },
        _ => return Ok(None),
    }))
}

fn begin(from: &mut Reader<'_>) -> Result<(Option<Isolation>, String)> {
    let isolation = match from.u8("the isolation level")? {
        0 => None,
        1 => Some(Isolation::ReadUncommitted),
        2 => Some(Isolation::ReadCommitted),
        3 => Some(Isolation::RepeatableRead),
        4 => Some(Isolation::Serializable),
        5 => Some(Isolation::Snapshot),
        other => return from.fail(format!("isolation level {other}")),
    };
    Ok((isolation, name(from)?))
}

fn then_begin(from: &mut Reader<'_>) -> Result<Option<(Option<Isolation>, String)>> {
    match from.is_empty() || from.u8("the flags")? & 1 == 0 {
        true => Ok(None),
        false => begin(from).map(Some),
    }
}

/// A byte with the number of *bytes*, unlike elsewhere.
fn name(from: &mut Reader<'_>) -> Result<String> {
    if from.is_empty() {
        return Ok(String::new());
    }
    let length = from.u8("the length of a transaction's name")?;
    Ok(utf16(from.bytes(length.into(), "a transaction's name")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADERS: [u8; 22] = [22, 0, 0, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];

    fn message(body: &[u8]) -> Vec<u8> {
        [&HEADERS[..], body].concat()
    }

    #[test]
    fn batches_are_text_after_headers() {
        assert_eq!(batch(&message(b"S\0E\0T\0")).unwrap(), "SET");
        assert!(batch(&[3, 0, 0, 0]).is_err());
        assert!(batch(&[30, 0, 0, 0, 1]).is_err());
    }

    #[test]
    fn two_calls_by_number_and_by_name() {
        let body = [
            &[0xFF, 0xFF, 10, 0, 0, 0][..],
            &[0, 0, 0x26, 4, 4, 1, 0, 0, 0],       // 1, nameless
            &[2, b'@', 0, b'a', 0, 1, 0x26, 4, 0], // @a output, NULL
            &[0xFF],
            &[3, 0, b'[', 0, b'p', 0, b']', 0, 0, 0],
        ]
        .concat();
        let value = |name: &str, value: Option<&[u8]>, output| Parameter {
            name: name.into(),
            sql_type: SqlType::Int,
            value: value.map(<[u8]>::to_vec),
            output,
            default: false,
            table: None,
        };
        let expect = Calls::All(vec![
            Call {
                procedure: Procedure::ExecuteSql,
                parameters: vec![value("", Some(&[1, 0, 0, 0]), false), value("@a", None, true)],
            },
            Call { procedure: Procedure::Named("[p]".into()), parameters: vec![] },
        ]);
        assert_eq!(calls(&message(&body)).unwrap(), expect);
    }

    #[test]
    fn transactions_of_drivers() {
        let check = |body: &[u8], expect: Option<Transaction>| {
            assert_eq!(transaction(&message(body)).unwrap(), expect, "{body:?}");
        };
        let begin = |isolation| Transaction::Begin { isolation, name: String::new() };
        check(&[5, 0, 0, 0], Some(begin(None)));
        check(&[5, 0, 5, 0], Some(begin(Some(Isolation::Snapshot))));
        check(&[7, 0, 0, 0], Some(Transaction::Commit { name: String::new(), then_begin: None }));
        let then_begin = Some((Some(Isolation::ReadCommitted), String::new()));
        check(&[8, 0, 0, 1, 2, 0], Some(Transaction::Rollback { name: String::new(), then_begin }));
        check(&[9, 0, 4, b's', 0, b'1', 0], Some(Transaction::Save { name: "s1".into() }));
        check(&[0, 0, 0, 0], None);
    }

    proptest! {
        #[test]
        fn hostile_messages_are_an_error_never_a_panic(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = batch(&data);
            let _ = transaction(&message(&data));
            let _ = calls(&message(&data));
        }
    }
}
