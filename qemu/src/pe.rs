//! Appending sections to a PE file: how a UKI is made from a stub.
//!
//! Offsets are those of the PE/COFF specification for PE32+ images.

use crate::{Error, Result};

/// Initialised data, readable.
const DATA: u32 = 0x4000_0040;

/// Size of one entry of the section table.
const ENTRY: usize = 40;

/// Appends sections to a PE image, each at the next free address.
///
/// # Errors
/// When `image` is no PE image or its headers have no room for another section.
pub fn append_sections(image: &[u8], sections: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let bad = |cause: &str| Error::Disk { disk: "PE image".into(), cause: cause.to_owned() };
    append(image, sections).map_err(bad)
}

fn append(image: &[u8], sections: &[(&str, &[u8])]) -> std::result::Result<Vec<u8>, &'static str> {
    let mut out = image.to_vec();
    let header = get32(&out, 0x3c)? as usize;
    if out.get(header..header + 4) != Some(b"PE\0\0") {
        return Err("no PE signature");
    }
    let count = usize::from(get16(&out, header + 6)?);
    let optional = header + 24;
    let table = optional + usize::from(get16(&out, header + 20)?);
    let alignment = get32(&out, optional + 32)?;
    let file_alignment = get32(&out, optional + 36)?.max(512) as usize;
    let mut next_address = get32(&out, optional + 56)?.next_multiple_of(alignment);
    // The headers may grow up to the first section's data.
    let mut room = usize::MAX;
    for index in 0..count {
        let data = get32(&out, table + index * ENTRY + 20)? as usize;
        if data != 0 {
            room = room.min(data);
        }
    }
    if table + (count + sections.len()) * ENTRY > room {
        return Err("no room for another section");
    }
    for (index, (name, content)) in sections.iter().enumerate() {
        out.resize(out.len().next_multiple_of(file_alignment), 0);
        let offset = u32::try_from(out.len()).map_err(|_| "larger than 4 GiB")?;
        let size = u32::try_from(content.len()).map_err(|_| "larger than 4 GiB")?;
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(file_alignment), 0);
        let raw_size = u32::try_from(out.len()).map_err(|_| "larger than 4 GiB")? - offset;
        let entry = table + (count + index) * ENTRY;
        let mut short = name.as_bytes().to_vec();
        short.resize(8, 0);
        put(&mut out, entry, &short)?;
        put(&mut out, entry + 8, &size.to_le_bytes())?;
        put(&mut out, entry + 12, &next_address.to_le_bytes())?;
        put(&mut out, entry + 16, &raw_size.to_le_bytes())?;
        put(&mut out, entry + 20, &offset.to_le_bytes())?;
        put(&mut out, entry + 24, &[0; 12])?;
        put(&mut out, entry + 36, &DATA.to_le_bytes())?;
        next_address = (next_address + size).next_multiple_of(alignment);
    }
    let total = u16::try_from(count + sections.len()).map_err(|_| "too many sections")?;
    put(&mut out, header + 6, &total.to_le_bytes())?;
    put(&mut out, optional + 56, &next_address.to_le_bytes())?;
    Ok(out)
}

/// Where [`executable`] puts its code.
pub const CODE: u32 = 0x1000;

/// An EFI application of one section that holds `code`, which runs wherever it lies and begins with
/// its entry point. There is room for some more sections.
pub fn executable(code: &[u8]) -> Vec<u8> {
    const HEADERS: u32 = 1024;
    let memory = u32::try_from(code.len()).unwrap_or(u32::MAX).next_multiple_of(4096);
    let raw = u32::try_from(code.len()).unwrap_or(u32::MAX).next_multiple_of(512);
    let mut file = b"MZ".to_vec();
    file.resize(0x3c, 0);
    file.extend(64_u32.to_le_bytes());
    file.extend(b"PE\0\0");
    // x86-64, one section, no symbols.
    file.extend([0x8664_u16, 1, 0, 0, 0, 0, 0, 0].iter().flat_map(|n| n.to_le_bytes()));
    // The optional header's size; executable, large addresses.
    file.extend([240_u16, 0x0022].iter().flat_map(|n| n.to_le_bytes()));
    let start = file.len();
    file.extend(0x020b_u16.to_le_bytes());
    file.extend([0, 0]);
    // Sizes of code, data and more data; entry point; start of the code.
    file.extend([raw, 0, 0, CODE, CODE].iter().flat_map(|n| n.to_le_bytes()));
    file.extend(0_u64.to_le_bytes());
    // Alignment in memory and in the file, versions, sizes of the image and of the headers.
    let words = [4096, 512, 0, 0, 0, 0, CODE + memory, HEADERS, 0];
    file.extend(words.iter().flat_map(|n: &u32| n.to_le_bytes()));
    // An EFI application.
    file.extend(10_u16.to_le_bytes());
    file.resize(start + 108, 0);
    file.extend(16_u32.to_le_bytes());
    file.resize(start + 240, 0);
    file.extend(b".text\0\0\0");
    let section = [code.len().try_into().unwrap_or(u32::MAX), CODE, raw, HEADERS, 0, 0, 0, 0xe000_0020];
    file.extend(section.iter().flat_map(|n: &u32| n.to_le_bytes()));
    file.resize(HEADERS as usize, 0);
    file.extend(code);
    file.resize((HEADERS + raw) as usize, 0);
    file
}

const SHORT: &str = "the file is shorter than its headers say";

fn bytes<const N: usize>(image: &[u8], at: usize) -> std::result::Result<[u8; N], &'static str> {
    let slice = image.get(at..at + N).ok_or(SHORT)?;
    slice.try_into().map_err(|_| SHORT)
}

fn get16(image: &[u8], at: usize) -> std::result::Result<u16, &'static str> {
    Ok(u16::from_le_bytes(bytes(image, at)?))
}

fn get32(image: &[u8], at: usize) -> std::result::Result<u32, &'static str> {
    Ok(u32::from_le_bytes(bytes(image, at)?))
}

fn put(image: &mut [u8], at: usize, new: &[u8]) -> std::result::Result<(), &'static str> {
    let place = image.get_mut(at..at + new.len()).ok_or(SHORT)?;
    place.copy_from_slice(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn an_executable_takes_further_sections() {
        let file =
            append_sections(&executable(&[0xc3; 700]), &[(".osrel", b"ID=x"), (".cmdline", b"y")]).unwrap();
        assert_eq!(&file[1024..1026], &[0xc3, 0xc3]);
        assert_eq!(&file[2048..2052], b"ID=x");
    }

    #[test]
    fn what_is_no_pe_image_is_refused() {
        assert!(append_sections(b"MZ", &[]).is_err());
        assert!(append_sections(&[0; 4096], &[(".osrel", b"x")]).is_err());
    }
}
