//! The smallest PE file that has a UKI's sections.

const X86_64: u16 = 0x8664;

/// A UKI of image `id` in `version` with this command line. Its `.linux` is no kernel.
pub fn uki(id: &str, version: &str, cmdline: &str) -> Vec<u8> {
    uki_with(id, version, cmdline, "")
}

/// The same, with more lines in its os-release.
pub fn uki_with(id: &str, version: &str, cmdline: &str, more: &str) -> Vec<u8> {
    let osrel =
        format!("ID={id}\nIMAGE_ID={id}\nIMAGE_VERSION={version}\nPRETTY_NAME=\"Edge {version}\"\n{more}");
    uki_of(&osrel, version, cmdline)
}

/// A UKI with this os-release; `build` is its initramfs.
pub fn uki_of(osrel: &str, build: &str, cmdline: &str) -> Vec<u8> {
    pe(
        X86_64,
        &[
            (".osrel", osrel.as_bytes()),
            (".cmdline", cmdline.as_bytes()),
            (".uname", b"6.12.0-test"),
            (".linux", &vec![0xc3; 8192]),
            (".initrd", build.as_bytes()),
        ],
    )
}

/// A PE32+ file for `machine` with these sections.
pub fn pe(machine: u16, sections: &[(&str, &[u8])]) -> Vec<u8> {
    const OPTIONAL: usize = 240;
    const ALIGN: usize = 512;
    let headers = (64 + 4 + 20 + OPTIONAL + 40 * sections.len()).next_multiple_of(ALIGN);
    let mut file = vec![0_u8; 64];
    file[..2].copy_from_slice(b"MZ");
    file[0x3c] = 64;
    file.extend(b"PE\0\0");
    file.extend(machine.to_le_bytes());
    file.extend(u16::try_from(sections.len()).unwrap().to_le_bytes());
    file.extend([0; 12]);
    file.extend(u16::try_from(OPTIONAL).unwrap().to_le_bytes());
    file.extend(0x0022_u16.to_le_bytes());
    let mut optional = vec![0_u8; OPTIONAL];
    optional[..2].copy_from_slice(&0x020b_u16.to_le_bytes());
    optional[32..36].copy_from_slice(&4096_u32.to_le_bytes()); // SectionAlignment
    optional[36..40].copy_from_slice(&512_u32.to_le_bytes()); // FileAlignment
    optional[60..64].copy_from_slice(&u32::try_from(headers).unwrap().to_le_bytes());
    optional[108..112].copy_from_slice(&16_u32.to_le_bytes()); // NumberOfRvaAndSizes
    file.extend(optional);
    let (mut raw, mut virt) = (headers, 4096_usize);
    let mut data = vec![];
    for (name, content) in sections {
        let mut header = vec![0_u8; 40];
        header[..name.len()].copy_from_slice(name.as_bytes());
        let size = content.len().next_multiple_of(ALIGN);
        for (at, value) in [(8, content.len()), (12, virt), (16, size), (20, raw)] {
            header[at..at + 4].copy_from_slice(&u32::try_from(value).unwrap().to_le_bytes());
        }
        file.extend(header);
        data.extend_from_slice(content);
        data.resize(data.len().next_multiple_of(ALIGN), 0);
        raw += size;
        virt += content.len().next_multiple_of(4096);
    }
    file.resize(headers, 0);
    file.extend(data);
    file
}
