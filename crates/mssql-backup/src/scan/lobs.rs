//! Values outside their rows, gathered from their pieces.
//!
//! Every node says where its pieces end, so each visit must bring bytes that were announced: a tree that loops, is too deep, or gives more
//! or less than it says is an error, and nothing larger than SQL Server's 2 GiB is ever gathered.

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::lob::LobRecord;
use logferry_mssql_format::page::{PAGE_SIZE, Page, PageBytes, PageId, RowId};
use logferry_mssql_format::row::{Link, OffRow};

use crate::error::Result;
use crate::pages::PageSource;

/// Deeper trees cannot be: a node has hundreds of children, a value 2^31 bytes.
const DEPTH_MAX: usize = 8;
const VALUE_MAX: usize = 1 << 31;
const CACHED: usize = 4;

/// Gathers values; keeps a few pages, because small values share them.
#[derive(Default)]
pub struct LobReader {
    cache: Vec<(PageId, Box<PageBytes>)>,
    next: usize,
}

impl LobReader {
    /// Appends the value that a pointer leads to; `false` where it is NULL.
    ///
    /// # Errors
    /// Where a piece is missing or does not have the length that was announced.
    pub fn append<S: PageSource>(&mut self, pages: &S, pointer: &OffRow<'_>, out: &mut Vec<u8>) -> Result<bool> {
        if let Some(root) = pointer.root_record()? {
            return self.append_record(pages, root, None, 0, out);
        }
        self.append_links(pages, pointer.links(), None, 0, out)?;
        Ok(true)
    }

    /// Forgets pages, for sources whose pages change.
    pub fn clear(&mut self) {
        self.cache.clear();
    }

    fn append_record<S: PageSource>(
        &mut self,
        pages: &S,
        at: RowId,
        len: Option<usize>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool> {
        if depth > DEPTH_MAX {
            return Err(Malformed::new("the tree of a LOB is too deep", 0).into());
        }
        let start = out.len();
        // Links are copied out: the page may leave the cache while they are followed.
        let links: Vec<Link> = {
            let bytes = self.page(pages, at.page)?;
            let page = Page::read(bytes)?;
            let record =
                page.row_bytes(at.slot)?.ok_or_else(|| Malformed::new(format!("there is no LOB record at {at}"), 0))?;
            match LobRecord::read(record).map_err(|e| e.within(format_args!("LOB record {at}")))? {
                LobRecord::Data(data) => {
                    out.extend_from_slice(data);
                    check_len(at, data.len(), len)?;
                    return Ok(true);
                }
                LobRecord::Null => return Ok(false),
                LobRecord::Node(node) => node.links().collect::<Result<_, _>>()?,
            }
        };
        self.append_links(pages, links.into_iter().map(Ok), Some(at), depth + 1, out)?;
        check_len(at, out.len() - start, len)?;
        Ok(true)
    }

    fn append_links<S: PageSource>(
        &mut self,
        pages: &S,
        links: impl Iterator<Item = Result<Link, Malformed>>,
        of: Option<RowId>,
        depth: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut before = 0;
        for link in links {
            let link = link?;
            let len = link.end.checked_sub(before).filter(|&len| len != 0).ok_or_else(|| {
                let what = of.map_or_else(|| "the root in the row".to_owned(), |at| format!("LOB node {at}"));
                Malformed::new(format!("{what}: a piece ends at {}, the one before at {before}", link.end), 0)
            })?;
            if out.len().saturating_add(len as usize) > VALUE_MAX {
                return Err(Malformed::new("a LOB has more than 2 GiB", 0).into());
            }
            self.append_record(pages, link.at, Some(len as usize), depth, out)?;
            before = link.end;
        }
        Ok(())
    }

    fn page<S: PageSource>(&mut self, pages: &S, id: PageId) -> Result<&PageBytes> {
        let at = match self.cache.iter().position(|(cached, _)| *cached == id) {
            Some(at) => at,
            None => {
                let mut bytes = match self.cache.len() {
                    CACHED => self.cache.swap_remove(self.next % CACHED).1,
                    _ => Box::new([0; PAGE_SIZE]),
                };
                self.next = self.next.wrapping_add(1);
                pages.read_page(id, &mut bytes)?;
                self.cache.push((id, bytes));
                self.cache.len() - 1
            }
        };
        match self.cache.get(at) {
            Some((_, bytes)) => Ok(bytes),
            None => Err(Malformed::new(format!("page {id} is not cached"), 0).into()),
        }
    }
}

fn check_len(at: RowId, found: usize, announced: Option<usize>) -> Result<()> {
    match announced {
        Some(len) if len != found => {
            Err(Malformed::new(format!("LOB record {at} gives {found} bytes, {len} were announced"), 0).into())
        }
        _ => Ok(()),
    }
}
