//! Archives in the "newc" format, as the kernel unpacks them into the initramfs.

/// An initramfs under construction.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    count: u32,
}

impl Archive {
    /// Adds a folder; its parents must have been added before.
    pub fn folder(&mut self, path: &str) {
        self.member(path, 0o040_755, &[]);
    }

    /// Adds a file; `mode` holds the permissions.
    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.member(path, 0o100_000 | mode, content);
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.member("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// One member: a header of 13 numbers in hexadecimal, name and content each padded to 4 bytes.
    fn member(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.count += 1;
        let size = content.len();
        let fields: [usize; 13] = [
            self.count as usize,
            mode as usize,
            0, // owner
            0, // group
            1, // links
            0, // time
            size,
            0, // device
            0,
            0, // device of a device file
            0,
            path.len() + 1,
            0, // checksum, unused
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_padded_to_four_bytes() {
        let mut archive = Archive::default();
        archive.file("init", 0o755, b"12345");
        let bytes = archive.finish();
        assert!(bytes.starts_with(b"07070100000001000081ed"));
        // 110 bytes of header and "init\0" give 115, hence 116; then 5 bytes of content.
        assert_eq!(bytes.get(116..124), Some(&b"12345\0\0\0"[..]));
        assert!(bytes.len().is_multiple_of(4));
    }
}
