//! What can go wrong with an object, in words that say which object, where in it, and what to do.

use std::fmt;

/// An error of an object, a listing or a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What can be done about it.
    pub kind: Kind,
    /// The object, the prefix or the role, as `s3://bucket/key`.
    pub name: String,
    /// Where in the object bytes were wanted.
    pub offset: Option<u64>,
    /// What happened.
    pub why: String,
}

/// What can be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such object, bucket or prefix (any more).
    NotFound,
    /// The credentials are wrong, or do not suffice.
    Denied,
    /// The object is another one than when it was opened.
    Changed,
    /// The store, or the way to it, does not work for now: it was tried several times.
    Unavailable,
    /// A setting is wrong or missing.
    Settings,
}

impl Error {
    pub(crate) fn new(kind: Kind, name: impl Into<String>, why: impl Into<String>) -> Self {
        Error { kind, name: name.into(), offset: None, why: why.into() }
    }

    pub(crate) fn settings(why: impl Into<String>) -> Self {
        Error::new(Kind::Settings, "", why)
    }

    pub(crate) fn at(self, offset: u64) -> Self {
        Error { offset: Some(offset), ..self }
    }

    /// An error of the client library. Its text may have the whole answer of the server in it: what it says in a word is taken
    /// out, the rest would fill a page.
    pub(crate) fn of_store(name: &str, error: object_store::Error) -> Self {
        use object_store::Error as E;
        let text = chain(&error);
        let kind = match &error {
            E::NotFound { .. } => Kind::NotFound,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => Kind::Denied,
            E::Precondition { .. } => Kind::Changed,
            E::InvalidPath { .. } | E::NotSupported { .. } | E::UnknownConfigurationKey { .. } => Kind::Settings,
            // Our own credentials come through the library, wrapped.
            _ => match own(&error) {
                Some(own) => return own.clone(),
                // Of a listing the library tells the status in its text only.
                None if text.contains("status code: 404") => Kind::NotFound,
                None if text.contains("status code: 403") || text.contains("status code: 401") => Kind::Denied,
                None => Kind::Unavailable,
            },
        };
        Error::new(kind, name, brief(&text))
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self.kind {
            Kind::NotFound => {
                "check bucket, key, region and endpoint; a store that lists by prefix needs the whole name of a folder"
            }
            Kind::Denied => {
                "check the credentials, and that they may read (s3:GetObject) and list (s3:ListBucket); the clock of this machine counts, too"
            }
            Kind::Changed => "nobody may write an object that is being read: run again when the upload has ended",
            Kind::Unavailable => {
                "check endpoint, region and the network on the way; nothing that was read so far is lost"
            }
            Kind::Settings => {
                "source.object_storage in the task's file, or the variables and the profile of AWS's tools, say how"
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.offset, self.kind) {
            ("", ..) => write!(f, "object storage: {}", self.why),
            (name, Some(offset), Kind::Changed) => {
                write!(f, "{name} changed while it was being read, seen at offset {offset}: {}", self.why)
            }
            (name, Some(offset), _) => write!(f, "could not read {name} at offset {offset}: {}", self.why),
            (name, None, _) => write!(f, "could not read {name}: {}", self.why),
        }
    }
}

impl std::error::Error for Error {}

/// One of ours in the chain of causes.
fn own(error: &object_store::Error) -> Option<&Error> {
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = next {
        if let Some(own) = cause.downcast_ref::<Error>() {
            return Some(own);
        }
        next = cause.source();
    }
    None
}

/// An error and its causes in one line, without saying anything twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// The code and message of an answer in XML, with what stands in front of it; other texts up to a bound, on one line.
pub(crate) fn brief(text: &str) -> String {
    let short = match (element(text, "Code"), text.find("<?xml").or_else(|| text.find("<Error"))) {
        (Some(code), Some(at)) => {
            let message = element(text, "Message").map(|m| format!(": {m}")).unwrap_or_default();
            format!("{}{code}{message}", &text[..at])
        }
        _ => text.to_owned(),
    };
    let one_line: Vec<&str> = short.split_whitespace().collect();
    let mut line = one_line.join(" ");
    if let Some((at, _)) = line.char_indices().nth(400) {
        line.truncate(at);
        line.push_str("...");
    }
    line
}

/// The text of the first element of a name in XML. Names and values of the few answers that are read here have no attributes
/// and no escapes.
pub(crate) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = xml.split_once(&format!("<{name}>"))?;
    Some(after.split_once(&format!("</{name}>"))?.0.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_is_told_in_a_line() {
        let answer = "Server returned 403: <?xml version=\"1.0\"?>\n<Error>\n <Code>AccessDenied</Code><Message>Access \nDenied</Message><RequestId>x</RequestId></Error>";
        assert_eq!(brief(answer), "Server returned 403: AccessDenied: Access Denied");
        assert_eq!(brief("a\n b"), "a b");
        assert_eq!(brief(&"ä".repeat(1000)).chars().count(), 403);
    }
}
