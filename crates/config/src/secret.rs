//! Texts that must not be shown.

use std::fmt;

/// A text that holds a password, or may. `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself: only for handing it to what connects.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The text as it may be shown: a URL without its password.
    pub fn redacted(&self) -> String {
        redact(&self.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

/// The text with every password in it replaced by as many asterisks, so that positions in the text stay as they are:
/// in `scheme://user:password@host`, after `password=`, and in YAML after `password:`, `secret_key:` and
/// `session_token:`.
pub fn redact(text: &str) -> String {
    let mut hidden: Vec<(usize, usize)> = Vec::new();
    let end_of_word = |from: usize| {
        text[from..].find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'')).map_or(text.len(), |n| from + n)
    };
    for (at, _) in text.match_indices("://") {
        let from = at + 3;
        let end = end_of_word(from);
        // The last "@": a password may hold one.
        let Some(host) = text[from..end].rfind('@').map(|n| from + n) else { continue };
        if let Some(colon) = text[from..host].find(':') {
            hidden.push((from + colon + 1, host));
        }
    }
    let keys = ["password:", "secret_key:", "session_token:"];
    for (at, word) in keys.into_iter().flat_map(|key| text.match_indices(key)) {
        // A YAML value: to the end of the line, whatever it has in it.
        let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        let after = at + word.len();
        let from = after + (text[after..end].len() - text[after..end].trim_start().len());
        hidden.push((from, end));
    }
    for (at, word) in text.match_indices("password=") {
        let from = at + word.len();
        let end = end_of_word(from);
        hidden.push((from, text[from..end].find('&').map_or(end, |n| from + n)));
    }
    text.char_indices()
        .map(|(at, c)| if hidden.iter().any(|&(from, to)| from <= at && at < to) { '*' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(redact(text), expect);
    }

    #[test]
    fn passwords_are_hidden() {
        check("postgres://me:pass@host/db", "postgres://me:****@host/db");
        check("url: 'postgres://me:p@s:s@host' # x", "url: 'postgres://me:*****@host' # x");
        check("postgres://host/db?user=a&password=abc&x=1", "postgres://host/db?user=a&password=***&x=1");
        check("postgres://me@host/db", "postgres://me@host/db");
        check("postgres://host:5432/db", "postgres://host:5432/db");
        check("ünïcode://ü:ää@h", "ünïcode://ü:**@h");
        check("nothing", "nothing");
        check("  password: a b@c # x\nuser: me", "  password: *********\nuser: me");
        check("password:", "password:");
        check("    secret_key: abc\n", "    secret_key: ***\n");
    }

    #[test]
    fn debug_hides_all() {
        assert_eq!(format!("{:?}", Secret::new("postgres://me:pass@host")), "Secret(***)");
    }
}
