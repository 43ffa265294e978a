//! Statements that define things: CREATE and DROP; what the others share.

mod alter;
mod table;
mod types;

use super::super::ast::{IndexDef, Name, StmtKind};
use super::super::catalog::PRINCIPALS;
use super::super::collation;
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::super::value::same_name;
use super::Parser;
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

impl Parser<'_> {
    /// `ON (FILENAME = '...'), ... FOR ATTACH`: other files of a new database are not for a caller to say.
    fn attach(&mut self, name: String) -> Result<StmtKind> {
        self.word("PRIMARY");
        let mut files = Vec::new();
        loop {
            self.expect_op("(")?;
            loop {
                let option = self.ident()?;
                self.expect_op("=")?;
                let value = self.primary()?;
                match option.to_ascii_uppercase().as_str() {
                    "FILENAME" => files.push(value),
                    "NAME" => {}
                    other => return Err(unsupported(format!("{other} of a file in CREATE DATABASE"))),
                }
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
            let log = self.words(&["LOG", "ON"]);
            if !log && !self.op(",") {
                break;
            }
        }
        if !self.words(&["FOR", "ATTACH"]) {
            return Err(unsupported("files in CREATE DATABASE, but FOR ATTACH"));
        }
        Ok(StmtKind::Attach(name, files))
    }

    pub(super) fn create(&mut self) -> Result<StmtKind> {
        let begin = self.at;
        self.skip();
        let alter = self.words(&["OR", "ALTER"]);
        if let Some(module) = self.module(begin, true, alter)? {
            return Ok(module);
        }
        if self.word("TRIGGER") {
            return self.trigger(begin, true, alter);
        }
        if alter {
            return Err(unsupported("CREATE OR ALTER of anything but views, procedures and triggers"));
        }
        if self.word("TABLE") {
            return self.create_table();
        }
        if self.word("TYPE") {
            let name = self.name()?;
            self.expect_word("AS")?;
            self.expect_word("TABLE")?;
            let table = self.table_of(name)?;
            let text = self.sql.get(self.start_of(begin)..self.start_of(self.at)).unwrap_or_default();
            return Ok(StmtKind::CreateType(Box::new(table), text.trim().to_owned()));
        }
        if self.word("SCHEMA") {
            return self.create_schema();
        }
        if self.word("DATABASE") {
            let name = self.ident()?;
            if self.word("ON") {
                return self.attach(name);
            }
            if self.is_word("FOR") || self.is_word("AS") {
                return Err(unsupported("CREATE DATABASE ... FOR and AS"));
            }
            if self.word("COLLATE") {
                let given = self.ident()?;
                match collation::named(&given) {
                    Some(of) if of == DEFAULT_COLLATION => {}
                    _ => return Err(unsupported(format!("databases of the collation {given}"))),
                }
            }
            return Ok(StmtKind::CreateDatabase(name));
        }
        let unique = self.word("UNIQUE");
        let clustered = self.word("CLUSTERED");
        if !clustered {
            self.word("NONCLUSTERED");
        }
        if self.word("INDEX") {
            let name = self.ident()?;
            self.expect_word("ON")?;
            let table = self.name()?;
            let index = self.index_rest(name, unique, clustered)?;
            return Ok(StmtKind::CreateIndex(Box::new(index), table));
        }
        let what = match self.peek() {
            Tok::Word(w) => w.to_ascii_uppercase(),
            _ => return Err(self.unexpected()),
        };
        Err(match what.as_str() {
            "FUNCTION" | "SEQUENCE" | "LOGIN" | "USER" | "ROLE" | "STATISTICS" | "SYNONYM" | "COLUMNSTORE" | "XML"
            | "SPATIAL" | "FULLTEXT" | "PARTITION" | "RULE" | "DEFAULT" | "ASSEMBLY" | "OR" | "CERTIFICATE"
            | "MASTER" => unsupported(format!("CREATE {what}")),
            _ => self.unexpected(),
        })
    }

    /// `CREATE SCHEMA name AUTHORIZATION owner`. Without a name of its own, a schema is called as its owner.
    fn create_schema(&mut self) -> Result<StmtKind> {
        let named = !self.word("AUTHORIZATION");
        let name = self.ident()?;
        let owner = match named && self.word("AUTHORIZATION") {
            true => Some(self.ident()?),
            false => (!named).then(|| name.clone()),
        };
        if ["CREATE", "GRANT", "REVOKE", "DENY"].iter().any(|word| self.is_word(word)) {
            return Err(unsupported("CREATE SCHEMA with what is in it"));
        }
        match owner {
            Some(owner) if !same_name(&owner, "dbo") => {
                if PRINCIPALS.iter().any(|(known, ..)| same_name(known, &owner)) {
                    return Err(unsupported("schemas of others than dbo"));
                }
                let message =
                    format!("Cannot find the user '{owner}', because it does not exist or you do not have permission.");
                self.missing.get_or_insert(SqlError::batch(15151, message));
            }
            _ => {}
        }
        Ok(StmtKind::CreateSchema(name))
    }

    fn index_rest(&mut self, name: String, unique: bool, clustered: bool) -> Result<IndexDef> {
        let columns = self.key_columns()?;
        let included = if self.word("INCLUDE") { self.ident_list()? } else { Vec::new() };
        let filtered = self.is_word("WHERE");
        if filtered {
            self.skip();
            self.condition()?;
        }
        self.storage_options("CREATE INDEX")?;
        Ok(IndexDef { name, unique, clustered, columns, included, filtered })
    }

    /// `WITH (...)`, `ON [PRIMARY]`, `TEXTIMAGE_ON [PRIMARY]`; `of` is the statement. There are no other filegroups.
    fn storage_options(&mut self, of: &str) -> Result<()> {
        loop {
            if self.is_word("WITH") && self.is_op_at(1, "(") {
                self.skip();
                self.storage_option_list(of)?;
            } else if self.is_word("ON") || self.is_word("TEXTIMAGE_ON") {
                self.skip();
                let name = self.ident()?;
                if self.is_op("(") {
                    return Err(unsupported("partitioned tables"));
                }
                if !same_name(&name, "PRIMARY") && !same_name(&name, "default") {
                    let message = format!("Invalid filegroup '{name}' specified.");
                    self.missing.get_or_insert(SqlError::batch(1921, message));
                }
            } else {
                return Ok(());
            }
        }
    }

    fn key_columns(&mut self) -> Result<Vec<(String, bool)>> {
        self.expect_op("(")?;
        let mut out = Vec::new();
        loop {
            let name = self.ident()?;
            let descending = self.word("DESC");
            if !descending {
                self.word("ASC");
            }
            out.push((name, descending));
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(out)
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.words(&["IF", "EXISTS"])
    }

    pub(super) fn name_list(&mut self) -> Result<Vec<Name>> {
        let mut out = vec![self.name()?];
        while self.op(",") {
            out.push(self.name()?);
        }
        Ok(out)
    }

    pub(super) fn drop(&mut self) -> Result<StmtKind> {
        self.skip();
        let view = self.word("VIEW");
        if view || self.word("PROCEDURE") || self.word("PROC") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropModule { view, names: self.name_list()?, if_exists });
        }
        if self.word("TRIGGER") {
            return self.drop_trigger();
        }
        if self.word("TYPE") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropType { name: self.name()?, if_exists });
        }
        if self.word("TABLE") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropTable { names: self.name_list()?, if_exists });
        }
        if self.word("DATABASE") {
            let if_exists = self.if_exists();
            let names = self.name_list()?.into_iter().filter_map(|mut n| n.pop()).collect();
            return Ok(StmtKind::DropDatabase { names, if_exists });
        }
        if self.word("INDEX") {
            let if_exists = self.if_exists();
            let mut first = self.name()?;
            if self.word("ON") {
                let index = first.pop().unwrap_or_default();
                let table = self.name()?;
                self.storage_options("DROP INDEX")?;
                return Ok(StmtKind::DropIndex { index, table, if_exists });
            }
            let index = first.pop().unwrap_or_default();
            return match first.is_empty() {
                true => Err(self.unexpected()),
                false => Ok(StmtKind::DropIndex { index, table: first, if_exists }),
            };
        }
        Err(match self.peek() {
            Tok::Word(w) => unsupported(format!("DROP {}", w.to_ascii_uppercase())),
            _ => self.unexpected(),
        })
    }
}
