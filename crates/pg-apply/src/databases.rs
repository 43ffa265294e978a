//! Databases of the target's server: made where they are missing.

use futures_util::future::BoxFuture;
use tokio_postgres::error::SqlState;

use crate::connect::Target;
use crate::door::door;
use crate::error::Error;
use crate::names::{NAME_BYTES_MAX, quoted};

impl Target {
    /// Makes a database beside this one, unless it is there; tells whether it was made. It is like `template1`, in UTF-8.
    ///
    /// # Errors
    /// Where the name is too long, or the user may not make databases: says what would mend it.
    pub fn ensure_database<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<bool, Error>> {
        door(self.ensure(name))
    }

    async fn ensure(&self, name: &str) -> Result<bool, Error> {
        if name.len() > NAME_BYTES_MAX || name.is_empty() {
            let why = format!("cannot name a database \"{name}\": a name has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Error::ConnectionString(why));
        }
        let client = self.connect().await?;
        let doing = || format!("make database \"{name}\"");
        let there = client.query_opt("SELECT FROM pg_catalog.pg_database WHERE datname = $1", &[&name]).await;
        if there.map_err(Error::sql(doing()))?.is_some() {
            return Ok(false);
        }
        let made = client.batch_execute(&format!("CREATE DATABASE {}", quoted(name))).await;
        match made {
            // Another process was faster; the second of two at the same moment fails in the catalog's index.
            Err(e) if matches!(e.code(), Some(&SqlState::DUPLICATE_DATABASE | &SqlState::UNIQUE_VIOLATION)) => {
                Ok(false)
            }
            made => made.map(|()| true).map_err(Error::sql(doing())),
        }
    }

    /// A name as the folding of a task makes it, in the place of the URL's database.
    ///
    /// # Errors
    /// Where the text is no URL.
    pub fn url_of_database(url: &str, name: &str) -> Result<String, Error> {
        let wrong = || Error::ConnectionString("is not the URL of a database".to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
        let (place, options) = match rest.find('?') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        // A password in a URL has its slashes as %2F.
        let server = place.split('/').next().unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
        let encoded: String =
            name.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect();
        Ok(format!("{scheme}://{server}/{encoded}{options}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, name: &str, expect: &str) {
        assert_eq!(Target::url_of_database(url, name).expect("a URL"), expect);
    }

    #[test]
    fn the_database_of_a_url_is_another() {
        check(
            "postgres://me:p%2Fw@h:5432/old?sslmode=require",
            "Shop",
            "postgres://me:p%2Fw@h:5432/Shop?sslmode=require",
        );
        check("postgresql://h", "a b/\u{e9}", "postgresql://h/a%20b%2F%C3%A9");
        check("postgres:///old?host=/tmp", "x", "postgres:///x?host=/tmp");
        assert!(Target::url_of_database("host=a dbname=b", "x").is_err());
    }
}
