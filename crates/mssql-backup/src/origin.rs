//! Where a replay comes from: the pages of the base, the log that comes with it, the log after it.

use std::sync::Arc;

use logferry_model::{Lineage, Lsn};

use crate::catalog::Catalog;
use crate::chain::Chain;
use crate::changes::ReplayOptions;
use crate::data_file::DataFiles;
use crate::error::Error;
use crate::log_file::{Belonging, LogFiles};
use crate::log_segment::{LogEnd, SegmentBlocks};
use crate::pages::PageSource;

/// Where a replay comes from.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) pages: Arc<dyn PageSource>,
    pub(crate) log: LogOrigin,
    pub(crate) lineage: Lineage,
    pub(crate) options: ReplayOptions,
}

/// Where the log comes from.
#[derive(Clone)]
pub(crate) enum LogOrigin {
    Chain(Arc<Chain>),
    Files(Arc<LogFiles>),
    /// There is none: data files of a database that was closed. They stand at the checkpoint that closed it.
    Without {
        checkpoint_lsn: Lsn,
    },
}

impl Origin {
    pub(crate) fn of_chain(chain: Chain, options: ReplayOptions) -> Result<Self, Error> {
        Ok(Origin {
            pages: Arc::new(chain.base_pages()?),
            lineage: chain.lineage(),
            log: LogOrigin::Chain(Arc::new(chain)),
            options,
        })
    }

    pub(crate) fn of_files(data: DataFiles, log: LogFiles, options: ReplayOptions) -> Result<Self, Error> {
        let belonging = log.check_belongs(&data)?;
        let checkpoint = Catalog::read(&data)?.boot.checkpoint_lsn;
        // A log that was replaced ends where the data file got a new one.
        if belonging == Belonging::Binding && !checkpoint.is_zero() && !log.has_vlf(checkpoint.vlf) {
            let why = format!(
                "the log files do not hold the last checkpoint of the data files, {checkpoint}: a log file of the database is missing"
            );
            return Err(Error::NoChain { database: String::new(), why });
        }
        let lineage = Lineage { database: data.binding_guid().0, fork: [0; 16] };
        Ok(Origin { pages: Arc::new(data), lineage, log: LogOrigin::Files(Arc::new(log)), options })
    }

    pub(crate) fn of_data(data: DataFiles, options: ReplayOptions) -> Result<Self, Error> {
        let lineage = Lineage { database: data.binding_guid().0, fork: [0; 16] };
        let checkpoint_lsn = Catalog::read(&data)?.boot.checkpoint_lsn;
        Ok(Origin { pages: Arc::new(data), lineage, log: LogOrigin::Without { checkpoint_lsn }, options })
    }

    /// The first position that the log of the base tells of.
    pub(crate) fn begin(&self) -> Lsn {
        match &self.log {
            LogOrigin::Chain(chain) => chain.redo_lsn(),
            LogOrigin::Files(log) => log.first_lsn(),
            LogOrigin::Without { checkpoint_lsn } => *checkpoint_lsn,
        }
    }

    /// The log that comes with the base.
    pub(crate) fn base_log(&self) -> Result<SegmentBlocks, Error> {
        match &self.log {
            LogOrigin::Chain(chain) => chain.base().log(chain.redo_lsn()),
            LogOrigin::Files(log) => log.blocks(None),
            LogOrigin::Without { checkpoint_lsn } => {
                Ok(SegmentBlocks::new(String::new(), Vec::new(), *checkpoint_lsn, LogEnd::Found))
            }
        }
    }

    /// Where the base is consistent (exclusive), if that is known beforehand.
    pub(crate) fn base_end(&self) -> Option<Lsn> {
        match &self.log {
            LogOrigin::Chain(chain) => Some(chain.base_end()),
            LogOrigin::Files(_) | LogOrigin::Without { .. } => None,
        }
    }

    /// The log behind the base; `None` where there is none.
    pub(crate) fn later_log(&self) -> Result<Option<SegmentBlocks>, Error> {
        match &self.log {
            LogOrigin::Chain(chain) if chain.end() > chain.base_end() => chain.blocks(chain.base_end()).map(Some),
            _ => Ok(None),
        }
    }
}
