//! `~/.aws/credentials` and `~/.aws/config`: sections of `key = value`, as AWS's own tools write and read them.

use std::collections::BTreeMap;

use crate::error::Error;

/// What both files say of a profile; what `credentials` says counts first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    values: BTreeMap<String, String>,
}

impl Profile {
    /// A profile of the texts of both files; `None` where neither has it.
    pub fn find(name: &str, credentials: &str, config: &str) -> Option<Profile> {
        // In `config` all but the default one are called "profile NAME".
        let in_config = section(config, &[&format!("profile {name}"), if name == "default" { name } else { "" }]);
        let in_credentials = section(credentials, &[name]);
        if in_config.is_none() && in_credentials.is_none() {
            return None;
        }
        let mut values = in_config.unwrap_or_default();
        values.extend(in_credentials.unwrap_or_default());
        Some(Profile { values })
    }

    /// A value, where it is there and not empty. Those of a nested section are `section.key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// What it needs and this program does not do.
    pub fn unsupported(&self, name: &str) -> Result<(), Error> {
        let keys = ["credential_process", "sso_session", "sso_start_url", "web_identity_token_file", "mfa_serial"];
        match keys.into_iter().find(|key| self.get(key).is_some()) {
            Some(key) => Err(Error::settings(format!(
                "profile \"{name}\" gets its credentials by {key}, which is not supported: export them as AWS_ACCESS_KEY_ID, \
                 AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (aws configure export-credentials --format env prints them)"
            ))),
            None => Ok(()),
        }
    }
}

/// The values of the first section that has one of the names.
fn section(text: &str, names: &[&str]) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut inside = false;
    let mut nested = String::new();
    for line in text.lines() {
        let bare = line.trim();
        if bare.is_empty() || bare.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = bare.strip_prefix('[').and_then(|rest| rest.split_once(']')).map(|(name, _)| name) {
            let name = name.split_whitespace().collect::<Vec<_>>().join(" ");
            inside = !name.is_empty() && names.contains(&name.as_str());
            if inside {
                found.get_or_insert_default();
            }
            continue;
        }
        let (true, Some((key, value))) = (inside, bare.split_once('=')) else { continue };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        let is_nested = line.starts_with([' ', '\t']) && !nested.is_empty();
        let name = if is_nested { format!("{nested}.{key}") } else { key.clone() };
        if !is_nested {
            nested = if value.is_empty() { key } else { String::new() };
        }
        // A comment may follow behind white space.
        let value = value.split(" #").next().unwrap_or_default().split(" ;").next().unwrap_or_default().trim();
        found.get_or_insert_default().insert(name, value.to_owned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str =
        "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=s=1\n\n[ other ]\naws_access_key_id=B # old\n";
    const CONFIG: &str = "[default]\nregion = eu-north-1\ns3 =\n  addressing_style = virtual\noutput = json\n[profile  other]\nrole_arn = arn:x\nregion=us-west-2\n[profile third]\nsso_session = x\n";

    #[track_caller]
    fn check(profile: &str, key: &str, expect: Option<&str>) {
        let profile = Profile::find(profile, CREDENTIALS, CONFIG).expect("is there");
        assert_eq!(profile.get(key), expect, "{key}");
    }

    #[test]
    fn profiles_are_put_together_from_both_files() {
        check("default", "aws_access_key_id", Some("A"));
        check("default", "aws_secret_access_key", Some("s=1"));
        check("default", "region", Some("eu-north-1"));
        check("default", "s3.addressing_style", Some("virtual"));
        check("default", "output", Some("json"));
        check("default", "role_arn", None);
        check("other", "aws_access_key_id", Some("B"));
        check("other", "role_arn", Some("arn:x"));
        check("other", "region", Some("us-west-2"));
        assert!(Profile::find("nobody", CREDENTIALS, CONFIG).is_none());
        assert!(Profile::find("third", CREDENTIALS, CONFIG).expect("is there").unsupported("third").is_err());
    }
}
