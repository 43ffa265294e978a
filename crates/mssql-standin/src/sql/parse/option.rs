//! Options: those that are accepted and have no effect here, each with why that is right; all others are refused.

use super::super::ast::ModuleOptions;
use super::super::error::{Result, SqlError, syntax, unsupported};
use super::super::token::Tok;
use super::super::value::same_name;
use super::Parser;

/// Where an option stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// `WITH (...)` of a table or an index.
    Storage,
    /// `OPTION (...)` of a query.
    Query,
    /// `WITH (...)` behind a table in a query.
    Hint,
    /// `WITH` of a view or a procedure.
    Module,
    /// `ALTER DATABASE ... SET`
    Database,
    /// `WITH` behind that.
    Termination,
    /// `SET` of a session.
    Session,
}

const FILL: &str = "pages are filled as rows come; how full they are is no promise of a server's either";
const PLAN: &str = "it is about how rows are found, and not about which";
const COST: &str = "it is about what work costs";
const LOCK: &str = "rows and tables are locked by whoever changes them; those that read see versions, and a change that comes too late waits";
const WHOLE: &str = "what a hint asks to be held is held as a whole table, which is more";
const DEFAULT: &str = "it is so in any case";
const KEPT: &str = "it is kept for those who ask for it, and changes no result that this engine gives";

/// What is accepted and has no effect, and why that is right.
const ACCEPTED: &[(Place, &str, &str)] = &[
    (Place::Storage, "ALLOW_PAGE_LOCKS", LOCK),
    (Place::Storage, "ALLOW_ROW_LOCKS", LOCK),
    (Place::Storage, "COMPRESS_ALL_ROW_GROUPS", "there are no row groups"),
    (Place::Storage, "FILLFACTOR", FILL),
    (Place::Storage, "LOB_COMPACTION", FILL),
    (Place::Storage, "MAXDOP", COST),
    (Place::Storage, "MAX_DURATION", COST),
    (Place::Storage, "ONLINE", "a definition is over before the next statement begins"),
    (Place::Storage, "PAD_INDEX", FILL),
    (Place::Storage, "SORT_IN_TEMPDB", COST),
    (Place::Storage, "STATISTICS_INCREMENTAL", PLAN),
    (Place::Storage, "STATISTICS_NORECOMPUTE", PLAN),
    (Place::Query, "CONCAT", PLAN),
    (Place::Query, "EXPAND", PLAN),
    (Place::Query, "FAST", PLAN),
    (Place::Query, "FORCE", PLAN),
    (Place::Query, "HASH", PLAN),
    (Place::Query, "IGNORE_NONCLUSTERED_COLUMNSTORE_INDEX", PLAN),
    (Place::Query, "KEEP", PLAN),
    (Place::Query, "KEEPFIXED", PLAN),
    (Place::Query, "LOOP", PLAN),
    (Place::Query, "MAXDOP", COST),
    (Place::Query, "MAX_GRANT_PERCENT", COST),
    (Place::Query, "MERGE", PLAN),
    (Place::Query, "MIN_GRANT_PERCENT", COST),
    (Place::Query, "NO_PERFORMANCE_SPOOL", PLAN),
    (Place::Query, "OPTIMIZE", PLAN),
    (Place::Query, "ORDER", PLAN),
    (Place::Query, "PARAMETERIZATION", PLAN),
    (Place::Query, "QUERYTRACEON", PLAN),
    (Place::Query, "RECOMPILE", PLAN),
    (Place::Query, "ROBUST", PLAN),
    (Place::Query, "TABLE", PLAN),
    (Place::Query, "USE", PLAN),
    (Place::Hint, "FORCESCAN", PLAN),
    (Place::Hint, "FORCESEEK", PLAN),
    (Place::Hint, "INDEX", PLAN),
    (Place::Hint, "KEEPDEFAULTS", "it is for OPENROWSET, which there is not"),
    (Place::Hint, "KEEPIDENTITY", "it is for OPENROWSET, which there is not"),
    (Place::Hint, "IGNORE_CONSTRAINTS", "it is for OPENROWSET, which there is not"),
    (Place::Hint, "IGNORE_TRIGGERS", "it is for OPENROWSET, which there is not"),
    (Place::Hint, "NOEXPAND", PLAN),
    (Place::Hint, "PAGLOCK", WHOLE),
    (Place::Hint, "READCOMMITTED", DEFAULT),
    (Place::Hint, "ROWLOCK", WHOLE),
    (Place::Module, "RECOMPILE", PLAN),
    (Place::Module, "SCHEMABINDING", "who drops what a view is of gets an error when it is read"),
    (Place::Module, "VIEW_METADATA", "results are described by what they are of"),
    (Place::Database, "ANSI_NULLS", "drivers set it for their sessions"),
    (Place::Database, "AUTO_CLOSE", COST),
    (Place::Database, "AUTO_SHRINK", "files do not shrink"),
    (Place::Database, "COMPATIBILITY_LEVEL", "what there is of the language is the same at all levels"),
    (Place::Database, "MULTI_USER", DEFAULT),
    (Place::Database, "ONLINE", DEFAULT),
    (Place::Database, "PAGE_VERIFY", "pages have their checksums in any case"),
    (Place::Database, "QUOTED_IDENTIFIER", "drivers set it for their sessions"),
    (Place::Database, "READ_WRITE", DEFAULT),
    (Place::Database, "SINGLE_USER", "it keeps others out of what a script does next; here they wait for its locks"),
    (Place::Termination, "NO_WAIT", "options do not wait for sessions"),
    (Place::Termination, "ROLLBACK", "options do not wait for sessions"),
    (Place::Session, "ANSI_DEFAULTS", KEPT),
    (Place::Session, "ANSI_NULLS", KEPT),
    (Place::Session, "ANSI_NULL_DFLT_OFF", KEPT),
    (Place::Session, "ANSI_NULL_DFLT_ON", KEPT),
    (Place::Session, "ANSI_PADDING", KEPT),
    (Place::Session, "ANSI_WARNINGS", KEPT),
    (Place::Session, "ARITHABORT", KEPT),
    (Place::Session, "ARITHIGNORE", KEPT),
    (Place::Session, "CONCAT_NULL_YIELDS_NULL", KEPT),
    (Place::Session, "CONTEXT_INFO", KEPT),
    (Place::Session, "CURSOR_CLOSE_ON_COMMIT", "there are no cursors"),
    (Place::Session, "DATEFIRST", KEPT),
    (Place::Session, "DATEFORMAT", KEPT),
    (Place::Session, "DEADLOCK_PRIORITY", "the one that closes a circle is its victim"),
    (Place::Session, "FMTONLY", "it has its effect, by its value"),
    (Place::Session, "FORCEPLAN", PLAN),
    (Place::Session, "LANGUAGE", KEPT),
    (Place::Session, "NOCOUNT", "it has its effect, by its value"),
    (Place::Session, "NOEXEC", "ON is refused"),
    (Place::Session, "NO_BROWSETABLE", KEPT),
    (Place::Session, "NUMERIC_ROUNDABORT", KEPT),
    (Place::Session, "PARSEONLY", "ON is refused"),
    (Place::Session, "QUERY_GOVERNOR_COST_LIMIT", COST),
    (Place::Session, "QUOTED_IDENTIFIER", KEPT),
    (Place::Session, "REMOTE_PROC_TRANSACTIONS", "there are no other servers"),
    (Place::Session, "ROWCOUNT", "0, and another number is refused"),
    (Place::Session, "STATISTICS", COST),
    (Place::Session, "TEXTSIZE", KEPT),
    (Place::Session, "XACT_ABORT", "it has its effect, by its value"),
];

/// Whether an option is accepted though it has no effect.
pub(crate) fn is_accepted(place: Place, word: &str) -> bool {
    ACCEPTED.iter().any(|(of, name, _)| *of == place && name.eq_ignore_ascii_case(word))
}

/// Options of a table or an index that have an effect on a server, and what they may be set to here: what they are without.
const REFUSED: &[(&str, &str)] = &[
    ("DATA_COMPRESSION", "NONE"),
    ("DROP_EXISTING", "OFF"),
    ("DURABILITY", "SCHEMA_AND_DATA"),
    ("IGNORE_DUP_KEY", "OFF"),
    ("MEMORY_OPTIMIZED", "OFF"),
    ("RESUMABLE", "OFF"),
    ("SYSTEM_VERSIONING", "OFF"),
    ("XML_COMPRESSION", "OFF"),
];

impl Parser<'_> {
    /// What stands in the parentheses of `WITH (...)` of a table or an index; `of` is the statement.
    pub(super) fn storage_option_list(&mut self, of: &str) -> Result<()> {
        self.expect_op("(")?;
        loop {
            let (line, option) = (self.line(), self.ident()?);
            let refused = REFUSED.iter().find(|(name, _)| name.eq_ignore_ascii_case(&option));
            if refused.is_none() && !is_accepted(Place::Storage, &option) {
                let message = format!("'{option}' is not a recognized {of} option.");
                return Err(SqlError::batch(155, message).class(15).at_line(line));
            }
            self.expect_op("=")?;
            let value = match self.next() {
                Tok::Word(value) | Tok::Number(value) => value,
                _ => {
                    self.at = self.at.saturating_sub(1);
                    return Err(self.unexpected());
                }
            };
            if let Some((name, usual)) = refused
                && !value.eq_ignore_ascii_case(usual)
            {
                return Err(unsupported(format!("the option {name} = {}", value.to_ascii_uppercase())));
            }
            // ONLINE = ON (WAIT_AT_LOW_PRIORITY (...)), MAX_DURATION = 1 MINUTES
            if self.is_op("(") {
                self.skip_parentheses()?;
            }
            let _ = self.word("MINUTES");
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")
    }

    /// `OPTION (...)`
    pub(super) fn option_clause(&mut self) -> Result<()> {
        if !self.word("OPTION") {
            return Ok(());
        }
        self.expect_op("(")?;
        loop {
            match self.peek() {
                Tok::Word(word) if is_accepted(Place::Query, word) => {}
                Tok::Word(word) if word.eq_ignore_ascii_case("MAXRECURSION") => {
                    return Err(unsupported("OPTION (MAXRECURSION)"));
                }
                Tok::Word(word) => return Err(syntax(word, self.line())),
                _ => return Err(self.unexpected()),
            }
            self.skip();
            loop {
                match self.peek() {
                    Tok::Op("(") => self.skip_parentheses()?,
                    Tok::Word(_) | Tok::Number(_) | Tok::Text(..) | Tok::Op("=") => self.skip(),
                    _ => break,
                }
            }
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")
    }

    /// `WITH SCHEMABINDING, RECOMPILE, EXECUTE AS OWNER`
    pub(super) fn module_options(&mut self) -> Result<ModuleOptions> {
        let mut options = ModuleOptions::default();
        if !self.word("WITH") {
            return Ok(options);
        }
        loop {
            if self.word("EXECUTE") || self.word("EXEC") {
                // There is one login, and it may do everything.
                self.expect_word("AS")?;
                options.execute_as = match self.peek() {
                    Tok::Word(w) if w.eq_ignore_ascii_case("CALLER") => None,
                    Tok::Word(w) if w.eq_ignore_ascii_case("OWNER") => Some(-2),
                    Tok::Word(w) if w.eq_ignore_ascii_case("SELF") => Some(1),
                    Tok::Text(name, _) if same_name(name, "dbo") => Some(1),
                    Tok::Text(..) => return Err(unsupported("EXECUTE AS others than dbo")),
                    _ => return Err(self.unexpected()),
                };
                self.skip();
            } else {
                match self.peek() {
                    Tok::Word(word) if is_accepted(Place::Module, word) => {
                        options.schema_bound |= word.eq_ignore_ascii_case("SCHEMABINDING");
                        options.recompiled |= word.eq_ignore_ascii_case("RECOMPILE");
                        self.skip();
                    }
                    Tok::Word(word) if word.eq_ignore_ascii_case("ENCRYPTION") => {
                        return Err(unsupported("modules whose text is hidden"));
                    }
                    _ => return Err(self.unexpected()),
                }
            }
            if !self.op(",") {
                return Ok(options);
            }
        }
    }

    /// `WITH ROLLBACK AFTER 5 SECONDS`, `WITH ROLLBACK IMMEDIATE`, `WITH NO_WAIT`
    pub(super) fn termination(&mut self) -> Result<()> {
        match self.peek() {
            Tok::Word(word) if is_accepted(Place::Termination, word) => {}
            _ => return Err(self.unexpected()),
        }
        if self.word("NO_WAIT") {
            return Ok(());
        }
        self.skip();
        if self.word("IMMEDIATE") {
            return Ok(());
        }
        self.expect_word("AFTER")?;
        let Tok::Number(_) = self.peek() else { return Err(self.unexpected()) };
        self.skip();
        self.word("SECONDS");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{ACCEPTED, REFUSED};

    #[test]
    fn each_option_is_listed_once_and_says_why() {
        for (at, (place, name, why)) in ACCEPTED.iter().enumerate() {
            assert!(!why.is_empty(), "{name}");
            let again = ACCEPTED.iter().skip(at + 1).any(|(p, n, _)| p == place && n == name);
            assert!(!again && !REFUSED.iter().any(|(n, _)| n == name), "{name} is there twice");
        }
    }
}
