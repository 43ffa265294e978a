//! Kinds of servers, told apart.

use tracing::info;

/// What kind of server it is.
/// <https://learn.microsoft.com/sql/t-sql/functions/serverproperty-transact-sql>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    /// SQL Server, whatever its licence (1 to 4), and Azure SQL Managed Instance (8) or Edge (9), which are the same engine with an
    /// instance around it.
    Instance,
    /// Azure SQL Database (5), a database without an instance, and SQL database in Fabric (12).
    AzureDatabase,
    /// Azure Synapse and its like (6, 11): T-SQL over another store.
    Synapse,
    /// One that came later.
    Unknown(i32),
}

impl Edition {
    pub(crate) fn of(number: i32) -> Self {
        match number {
            1..=4 | 8 | 9 => Edition::Instance,
            5 | 12 => Edition::AzureDatabase,
            6 | 11 => Edition::Synapse,
            other => Edition::Unknown(other),
        }
    }

    /// Whether its log can be followed: else why not, and what to do.
    pub(crate) fn must_be_followed(self, product_version: &str) -> Result<(), (&'static str, &'static str)> {
        match self {
            Edition::Instance => {}
            Edition::AzureDatabase => {
                return Err((
                    "it is a database of Azure, whose log is not ours to read",
                    "set source.mode to cdc, or to snapshot",
                ));
            }
            Edition::Synapse => {
                return Err(("it is one of Azure Synapse, which has no such log", "set source.mode to snapshot"));
            }
            Edition::Unknown(number) => {
                info!("SERVERPROPERTY('EngineEdition') is {number}, which is not known: taken for a SQL Server");
            }
        }
        // 2012, the first whose updates bring TLS 1.2. 16 is 2022.
        let major = product_version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 11) {
            return Err((
                "its server is older than 2012",
                "set source.mode to backup: it reads backups of 2005 and later",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(edition: i32, version: &str, expect: Option<&str>) {
        let found = Edition::of(edition).must_be_followed(version).err();
        assert_eq!(found.map(|(_, mend)| mend.split(' ').next_back().unwrap_or_default()), expect, "{found:?}");
    }

    #[test]
    fn only_instances_have_a_log_to_be_followed() {
        check(3, "16.0.4135.4", None);
        check(8, "12.0.2000.8", None);
        check(5, "12.0.2000.8", Some("snapshot"));
        check(11, "12.0.2000.8", Some("snapshot"));
        check(3, "10.50.6000.34", Some("later"));
        check(99, "17.0.1000.7", None);
        check(3, "", None);
    }
}
