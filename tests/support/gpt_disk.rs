//! Disks with a GPT, made byte by byte, and a reader of both copies that is not Abide's.
//!
//! Offsets are those of the UEFI specification 2.10, 5.3.

use flate2::Crc;

const ENTRY: usize = 128;
/// Bytes of a header that its checksum covers.
const HEADER: usize = 92;

/// A disk with partitions `esp` (1), `rootfs_a` (2) and `rootfs_b` (6) of 64 sectors each.
#[derive(Debug, Clone)]
pub struct GptDisk {
    /// Bytes in a sector.
    pub sector: u64,
    /// How many sectors the disk has.
    pub sectors: u64,
    /// How many entries each array has room for.
    pub entries: u64,
    /// Where the first copy's entries begin.
    pub first_entries: u64,
    /// Where the header of the second copy is.
    pub second: u64,
    /// Where the second copy's entries begin; by default they end where its header is.
    pub second_entries: Option<u64>,
}

impl GptDisk {
    /// As every tool makes it.
    pub fn new(sector: u64) -> Self {
        let sectors = (8 << 20) / sector;
        Self { sector, sectors, entries: 128, first_entries: 2, second: sectors - 1, second_entries: None }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut disk = vec![0; (self.sector * self.sectors) as usize];
        let array = self.array();
        let count = (array.len() as u64).div_ceil(self.sector);
        let second_entries = self.second_entries.unwrap_or(self.second - count);
        let last_usable = second_entries.min(self.second) - 1;
        for (own, other, entries) in [(1, self.second, self.first_entries), (self.second, 1, second_entries)]
        {
            let mut header = vec![0; HEADER];
            let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
            put(0, b"EFI PART");
            put(8, &0x10000_u32.to_le_bytes());
            put(12, &(HEADER as u32).to_le_bytes());
            for (at, lba) in
                [(24, own), (32, other), (40, self.first_entries + count), (48, last_usable), (72, entries)]
            {
                put(at, &u64::to_le_bytes(lba));
            }
            put(56, &[9; 16]);
            put(80, &(self.entries as u32).to_le_bytes());
            put(84, &(ENTRY as u32).to_le_bytes());
            put(88, &crc(&array).to_le_bytes());
            let sum = crc(&header);
            header[16..20].copy_from_slice(&sum.to_le_bytes());
            for (at, bytes) in [(own, &header), (entries, &array)] {
                let at = (at * self.sector) as usize;
                disk[at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
        disk
    }

    fn array(&self) -> Vec<u8> {
        let mut array = vec![0; self.entries as usize * ENTRY];
        for (number, label) in [(1, "esp"), (2, "rootfs_a"), (6, "rootfs_b")] {
            let mut entry = vec![number as u8; 32];
            let first = self.first_entries + 256 * number;
            entry.extend(first.to_le_bytes());
            entry.extend((first + 63).to_le_bytes());
            entry.extend([0; 8]);
            entry.extend(label.encode_utf16().flat_map(u16::to_le_bytes));
            entry.resize(ENTRY, 0);
            array[(number as usize - 1) * ENTRY..][..ENTRY].copy_from_slice(&entry);
        }
        array
    }
}

/// The entries of the first copy and of the one in the last sector; `None` for one that is not valid.
pub fn copies(disk: &[u8], sector: u64) -> [Option<Vec<u8>>; 2] {
    let last = disk.len() as u64 / sector - 1;
    [copy(disk, sector, 1, last), copy(disk, sector, last, 1)]
}

fn copy(disk: &[u8], sector: u64, own: u64, other: u64) -> Option<Vec<u8>> {
    let mut header = disk.get((own * sector) as usize..)?.get(..HEADER)?.to_vec();
    let number = |at: usize, len: usize| {
        header[at..at + len].iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let (size, sum, lba, alternate) = (number(12, 4), number(16, 4), number(24, 8), number(32, 8));
    let (start, count, entry_size, array_sum) = (number(72, 8), number(80, 4), number(84, 4), number(88, 4));
    let is_header = header.starts_with(b"EFI PART") && size == HEADER as u64;
    header[16..20].fill(0);
    let is_valid = is_header && u64::from(crc(&header)) == sum && (lba, alternate) == (own, other);
    let array = disk.get((start * sector) as usize..)?.get(..(count * entry_size) as usize)?;
    (is_valid && entry_size == ENTRY as u64 && u64::from(crc(array)) == array_sum).then(|| array.to_vec())
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
