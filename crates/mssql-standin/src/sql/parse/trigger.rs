//! Triggers: their text is kept, to the end of the batch.

use super::super::ast::{StmtKind, Trigger, TriggerOn};
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::super::trigger::event_number;
use super::{Parser, parse};

impl Parser<'_> {
    /// What follows CREATE TRIGGER, CREATE OR ALTER TRIGGER, or ALTER TRIGGER.
    pub(super) fn trigger(&mut self, begin: usize, make: bool, alter: bool) -> Result<StmtKind> {
        if begin != 0 {
            let message = "'CREATE TRIGGER' must be the first statement in a query batch.";
            return Err(SqlError::batch(111, message).class(15).at_line(self.line()));
        }
        let name = self.name()?;
        self.expect_word("ON")?;
        let on = self.trigger_on()?;
        let options = self.module_options()?;
        if self.is_word("INSTEAD") {
            return Err(unsupported("INSTEAD OF triggers"));
        }
        if !self.word("AFTER") {
            self.expect_word("FOR")?;
        }
        let mut events = Vec::new();
        loop {
            let line = self.line();
            let Tok::Word(word) = self.next() else { return Err(self.unexpected()) };
            let word = word.to_ascii_uppercase();
            let known = match on {
                TriggerOn::Database => event_number(&word).is_some(),
                TriggerOn::Table(_) => matches!(word.as_str(), "INSERT" | "UPDATE" | "DELETE"),
            };
            if !known {
                let message = format!("'{word}' is an invalid event type.");
                return Err(SqlError::batch(1084, message).class(15).at_line(line));
            }
            events.push(word);
            if !self.op(",") {
                break;
            }
        }
        let not_for_replication = self.not_for_replication();
        self.expect_word("AS")?;
        let body = self.sql.get(self.start_of(self.at)..).unwrap_or_default().to_owned();
        parse(&body)?;
        self.at = self.tokens.len().saturating_sub(1);
        let text = self.sql.trim().to_owned();
        Ok(StmtKind::DefineTrigger(Box::new(Trigger {
            name,
            make,
            alter,
            on,
            events,
            body,
            text,
            options,
            not_for_replication,
        })))
    }

    /// What follows DROP TRIGGER.
    pub(super) fn drop_trigger(&mut self) -> Result<StmtKind> {
        let if_exists = self.if_exists();
        let names = self.name_list()?;
        let on_database = self.words(&["ON", "DATABASE"]);
        if self.is_word("ON") {
            return Err(unsupported("triggers ON ALL SERVER"));
        }
        Ok(StmtKind::DropTrigger { names, if_exists, on_database })
    }

    /// What follows ENABLE or DISABLE.
    pub(super) fn switch_trigger(&mut self, enable: bool) -> Result<StmtKind> {
        self.expect_word("TRIGGER")?;
        let names = if self.word("ALL") { Vec::new() } else { self.name_list()? };
        self.expect_word("ON")?;
        Ok(StmtKind::SwitchTrigger { enable, names, on: self.trigger_on()? })
    }

    fn trigger_on(&mut self) -> Result<TriggerOn> {
        if self.is_word("ALL") && self.is_word_at(1, "SERVER") {
            return Err(unsupported("triggers ON ALL SERVER"));
        }
        Ok(match self.word("DATABASE") {
            true => TriggerOn::Database,
            false => TriggerOn::Table(self.name()?),
        })
    }
}
