//! Whether the files of a volume fit into it twice, since new ones are written beside the old.

use super::DATA;
use super::payload::Payload;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

/// The longest text of a link, with the zero behind it, that a tmpfs keeps without a page of its own.
const LONGEST_FREE_LINK: usize = 128;
const KIBIBYTE: u64 = 1024;

/// How much a volume holds and how much its files take, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// How many files there are.
    files: usize,
    /// What one generation of them takes.
    pub(super) generation: u64,
    /// What every file is rounded up to.
    page: u64,
    /// How much the volume holds; nothing is said by one without a limit.
    capacity: Option<u64>,
}

impl Room {
    /// The room in the volume at `root` for the files of `payload`.
    pub(super) fn of(root: BorrowedFd<'_>, payload: &Payload<'_>) -> io::Result<Self> {
        let volume = rustix::fs::fstatvfs(root)?;
        let page = volume.f_frsize.max(1);
        let capacity = volume.f_blocks.saturating_mul(page);
        let files = payload.iter().map(|(_, file)| bytes(file.content.len()).next_multiple_of(page));
        let is_long = |name: &String| DATA.len() + "/".len() + name.len() + 1 > LONGEST_FREE_LINK;
        let links = payload.visible_names().iter().filter(|name| is_long(name)).map(|_| page).sum();
        let generation = files.fold(links, u64::saturating_add);
        Ok(Self { files: payload.len(), generation, page, capacity: Some(capacity).filter(|capacity| *capacity > 0) })
    }

    /// Whether the files can be replaced by others of their size.
    pub(super) fn suffices(&self) -> bool {
        self.capacity.is_none_or(|capacity| self.generation.saturating_mul(2) <= capacity)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, generation, page, capacity } = self;
        let [generation, page] = [generation, page].map(|bytes| bytes.div_ceil(KIBIBYTE));
        let capacity = capacity.unwrap_or_default().div_ceil(KIBIBYTE);
        let (files, take) = if *files == 1 { ("file".to_owned(), "takes") } else { (format!("{files} files"), "take") };
        write!(
            formatter,
            "its {files} {take} {generation}Ki in pages of {page}Ki, and the old as much until the new are complete and no \
             program holds them open; its size limit is {capacity}Ki"
        )
    }
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX / 2)
}
