//! `phases:` and `start:` of a task.

use logferry_model::{Lsn, Start};

use super::Checker;
use crate::error::ConfigError;
use crate::raw::{self, At, From, Phase};
use crate::task::Phases;

const PHASES: &str = "any of [schema, full, incremental]";
const TIME: &str = "a time of the source's clock, like 2026-01-31T10:00:00";

impl Checker<'_> {
    pub(super) fn phases(&self, raw: &raw::Task) -> Result<(Phases, Start), ConfigError> {
        let phases = match &raw.phases {
            None => Phases::default(),
            Some(given) => {
                let has = |phase| given.value.contains(&phase);
                let phases =
                    Phases { schema: has(Phase::Schema), full: has(Phase::Full), incremental: has(Phase::Incremental) };
                if given.value.is_empty() {
                    return Err(self.wrong(given, "a task without a phase does nothing").expected(PHASES));
                }
                let mode = raw.source.mode.value.as_str();
                if phases.incremental && mode == "snapshot" {
                    return Err(self.wrong(given, "mode snapshot knows of no changes").expected("no \"incremental\""));
                }
                if phases.incremental && !phases.full && mode == "backup" {
                    let what = "mode backup has changes behind its full backup only";
                    return Err(self.wrong(given, what).expected("\"full\" beside \"incremental\""));
                }
                if !phases.schema && matches!(raw.target.on_existing, Some(raw::OnExisting::Recreate)) {
                    let what = "target.on_existing: recreate makes tables, and there is no phase \"schema\"";
                    return Err(self.wrong(given, what).expected("\"schema\" among them, or another on_existing"));
                }
                phases
            }
        };
        let Some(start) = &raw.start else { return Ok((phases, Start::Now)) };
        if phases.full || !phases.incremental {
            return Err(self
                .wrong(start, "changes begin behind the copy where there is one")
                .expected("phases: [incremental] or [schema, incremental] beside it"));
        }
        Ok((phases, self.start(start)?))
    }

    fn start(&self, start: &At<raw::Start>) -> Result<Start, ConfigError> {
        let raw::Start { from, lsn, time } = &start.value;
        let stray = match from {
            From::Now => lsn.as_ref().or(time.as_ref()),
            From::Lsn | From::Backup => time.as_ref(),
            From::Time => lsn.as_ref(),
        };
        if let Some(stray) = stray {
            return Err(self.wrong(stray, "this key does not belong to that kind of start"));
        }
        match (from, lsn, time) {
            (From::Now, ..) => Ok(Start::Now),
            (From::Lsn | From::Backup, Some(lsn), _) => {
                let text = self.interpolate(lsn)?;
                let read: Lsn = text.parse().map_err(|e| self.wrong(lsn, format!("{e}")))?;
                Ok(Start::Lsn(read))
            }
            (From::Time, _, Some(time)) => {
                let text = self.interpolate(time)?.replacen(' ', "T", 1);
                match is_time(&text) {
                    true => Ok(Start::Time(text)),
                    false => Err(self.wrong(time, "this is no time").expected(TIME)),
                }
            }
            (From::Lsn, None, _) => {
                Err(self.wrong(start, "key \"lsn\" is missing").expected("lsn: the first LSN that is wanted"))
            }
            (From::Backup, None, _) => Err(self
                .wrong(start, "key \"lsn\" is missing")
                .expected("lsn: last_lsn of the backup that the target was made from (msdb.dbo.backupset)")),
            (From::Time, _, None) => {
                Err(self.wrong(start, "key \"time\" is missing").expected(format!("time: {TIME}")))
            }
        }
    }
}

/// `2026-01-31T10:00:00`, with up to three digits of a second behind it.
fn is_time(text: &str) -> bool {
    const FORM: &str = "dddd-dd-ddTdd:dd:dd";
    let (whole, fraction) = text.split_at_checked(FORM.len()).unwrap_or((text, ""));
    let fits = |(c, form): (char, char)| if form == 'd' { c.is_ascii_digit() } else { c == form };
    let digits = fraction.strip_prefix('.').unwrap_or_default();
    whole.len() == FORM.len()
        && whole.chars().zip(FORM.chars()).all(fits)
        && (fraction.is_empty() || (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()))
}
