//! SET of options.

use super::super::error::{Result, SqlError, unsupported};
use super::super::parse::option::{Place, is_accepted};
use super::super::state::Isolation;
use super::Session;

impl Session {
    pub(super) fn set_option(&mut self, words: &[String]) -> Result<()> {
        let on = words.last().is_some_and(|w| w == "ON");
        let first = words.first().map(String::as_str).unwrap_or_default();
        match first {
            "TRANSACTION" => {
                self.scalars.isolation = match words.get(3..).unwrap_or_default() {
                    [a, b] if a == "READ" && b == "UNCOMMITTED" => Isolation::ReadUncommitted,
                    [a, b] if a == "READ" && b == "COMMITTED" => Isolation::ReadCommitted,
                    [a, b] if a == "REPEATABLE" && b == "READ" => Isolation::RepeatableRead,
                    [a] if a == "SNAPSHOT" => Isolation::Snapshot,
                    [a] if a == "SERIALIZABLE" => Isolation::Serializable,
                    _ => return Err(super::super::error::syntax(words.last().map_or("", String::as_str), 0)),
                };
            }
            "IDENTITY_INSERT" => {
                let name: Vec<String> =
                    words.get(1..words.len() - 1).unwrap_or_default().iter().filter(|w| *w != ".").cloned().collect();
                let found = self.waiting(|state, scalars, _| state.find_table(scalars, &name))?;
                let state = self.shared.lock();
                let at = found.ok_or_else(|| {
                    SqlError::batch(
                        1088,
                        format!(
                            "Cannot find the object \"{}\" because it does not exist or you do not have permissions.",
                            name.join(".")
                        ),
                    )
                })?;
                if on && state.db(at.database).meta(at.table).identity.is_none() {
                    return Err(SqlError::new(
                        8106,
                        format!(
                            "Table '{}' does not have the identity property. Cannot perform SET operation.",
                            name.join(".")
                        ),
                    ));
                }
                self.scalars.identity_insert = on.then_some(at);
            }
            "LOCK_TIMEOUT" => {
                let last = words.last().and_then(|w| w.parse::<u64>().ok());
                let negative = words.iter().any(|w| w == "-");
                self.scalars.lock_timeout_ms = if negative { None } else { last };
            }
            "IMPLICIT_TRANSACTIONS" => self.scalars.implicit = on,
            "PARSEONLY" | "NOEXEC" | "SHOWPLAN_ALL" | "SHOWPLAN_TEXT" | "SHOWPLAN_XML" if on => {
                return Err(unsupported(format!("SET {first} ON")));
            }
            "ROWCOUNT" if words.get(1).is_some_and(|w| w != "0") => return Err(unsupported("SET ROWCOUNT")),
            other if is_accepted(Place::Session, other) => {
                for option in words.iter().filter(|w| !matches!(w.as_str(), "ON" | "OFF" | ",")) {
                    self.scalars.options.insert(option.clone(), on);
                }
            }
            other => {
                return Err(SqlError::batch(195, format!("'{other}' is not a recognized SET option.")).class(15));
            }
        }
        Ok(())
    }
}
