//! Takes `sslmode`, `sslrootcert`, `sslcert` and `sslkey` out of a connection string: `tokio_postgres` knows
//! three modes of the six, and no files.

use super::Ssl;
use crate::error::Error;

/// The string without those options, and the options.
pub(super) fn take_ssl(text: &str) -> Result<(String, Ssl), Error> {
    let text = text.trim();
    let mut ssl = Ssl::default();
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        let Some((address, query)) = text.split_once('?') else { return Ok((text.to_owned(), ssl)) };
        let mut kept = Vec::new();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !ssl.take(key, || percent_decoded(value))? {
                kept.push(pair);
            }
        }
        let mark = if kept.is_empty() { "" } else { "?" };
        return Ok((format!("{address}{mark}{}", kept.join("&")), ssl));
    }
    let mut kept = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (raw, key, value, after) = key_value(rest).ok_or_else(unreadable)?;
        if !ssl.take(key, || Ok(value))? {
            kept.push_str(raw);
            kept.push(' ');
        }
        rest = after;
    }
    Ok((kept, ssl))
}

impl Ssl {
    /// Whether the option was one of ours.
    fn take(&mut self, key: &str, value: impl FnOnce() -> Result<String, Error>) -> Result<bool, Error> {
        match key {
            "sslmode" => self.mode = Some(value()?),
            "sslrootcert" => self.root_cert = Some(value()?.into()),
            "sslcert" => self.cert = Some(value()?.into()),
            "sslkey" => self.key = Some(value()?.into()),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn unreadable() -> Error {
    Error::ConnectionString("could not be read".to_owned())
}

/// The first `key = value` of a string: its text, key, value without quotes, and what follows.
fn key_value(text: &str) -> Option<(&str, &str, String, &str)> {
    let (key, after) = text.split_once('=')?;
    let after = after.trim_start();
    let quoted = after.starts_with('\'');
    let mut value = String::new();
    let mut chars = after.char_indices().skip(usize::from(quoted));
    let end = loop {
        match chars.next() {
            None if quoted => return None,
            None => break after.len(),
            Some((_, '\\')) => value.push(chars.next()?.1),
            Some((at, '\'')) if quoted => break at + 1,
            Some((at, c)) if !quoted && c.is_whitespace() => break at,
            Some((_, c)) => value.push(c),
        }
    };
    let (_, rest) = after.split_at_checked(end)?;
    let raw = text.get(..text.len() - rest.len())?;
    Some((raw, key.trim(), value, rest.trim_start()))
}

fn percent_decoded(text: &str) -> Result<String, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        if b != b'%' {
            bytes.push(b);
            continue;
        }
        let digit = |b: Option<u8>| b.and_then(|b| char::from(b).to_digit(16)).ok_or_else(unreadable);
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| unreadable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, rest: &str, mode: Option<&str>, root: Option<&str>) {
        let (found, ssl) = take_ssl(text).unwrap();
        assert_eq!(found.trim_end(), rest);
        assert_eq!(ssl.mode.as_deref(), mode);
        assert_eq!(ssl.root_cert.as_deref().and_then(|p| p.to_str()), root);
    }

    #[test]
    fn options_are_taken_out() {
        check("postgres://h/d", "postgres://h/d", None, None);
        check("postgres://h/d?sslmode=require", "postgres://h/d", Some("require"), None);
        check(
            "postgres://h/d?a=1&sslrootcert=%2Fa%20b&b=2&sslmode=x",
            "postgres://h/d?a=1&b=2",
            Some("x"),
            Some("/a b"),
        );
        check("host=h sslmode=verify-ca user=u", "host=h  user=u".replace("  ", " ").as_str(), Some("verify-ca"), None);
        check(r"host=h password='it\'s a=b' sslrootcert = '/a b'", r"host=h password='it\'s a=b'", None, Some("/a b"));
    }
}
